//! A commit that came through, and whose answer did not.

use crate::attack_postgres::number;
use crate::fencing::open;
use crate::postgres::Database;
use crate::support::*;
use ledger_core::{ActivationId, RequestId};
use ledger_store::{Log, Write, WriteError, Written};
use sqlx::postgres::PgConnectOptions;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// Stands between a server and its database, and swallows what that answers while `deaf`
/// is set: the connection ends instead. Returns the address.
fn stand_between(database: &Database, folder: &Path, deaf: Arc<AtomicBool>) -> String {
    let url = database.service();
    let options: PgConnectOptions = url.parse().unwrap();
    let socket = format!(".s.PGSQL.{}", options.get_port());
    let listener = UnixListener::bind(folder.join(&socket)).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let deaf = Arc::clone(&deaf);
            match options.get_socket() {
                Some(folder) => {
                    let server = UnixStream::connect(folder.join(&socket)).await.unwrap();
                    tokio::spawn(pass_on(client, server, deaf));
                }
                None => {
                    let address = (options.get_host(), options.get_port());
                    let server = TcpStream::connect(address).await.unwrap();
                    tokio::spawn(pass_on(client, server, deaf));
                }
            }
        }
    });
    // Of two hosts, the last one counts.
    format!("{url}&host={}", folder.display())
}

async fn pass_on(client: UnixStream, server: impl AsyncRead + AsyncWrite, deaf: Arc<AtomicBool>) {
    let (mut asked, mut heard) = client.into_split();
    let (mut answered, mut asks) = tokio::io::split(server);
    let answers = async {
        let mut bytes = [0; 8192];
        while let Ok(n_bytes @ 1..) = answered.read(&mut bytes).await {
            if deaf.load(Ordering::SeqCst) || heard.write_all(&bytes[..n_bytes]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut asked, &mut asks) => {}
        () = answers => {}
    }
}

#[tokio::test]
async fn a_batch_that_came_through_unheard_is_known_when_it_is_sent_again() {
    let database = Database::new().await;
    let (folder, deaf) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let url = stand_between(&database, folder.path(), Arc::clone(&deaf));
    let log = Log::open_postgres(&url).await.unwrap();
    write(&log, create_workspace()).await;
    write(&log, register(0..3)).await;
    // Small ones, one that fills a tile, and one that is decided by all before.
    let ids: [RequestId; 4] = std::array::from_fn(|_| fresh_request());
    let activation_id = ActivationId::new(fresh_request().uuid());
    let large = || Write { request_id: ids[1], ..events(vec![one(); 300]) };
    let send = || async {
        tokio::join!(
            log.write(Write { request_id: ids[0], ..one_event() }),
            log.write(large()),
            log.write(activation_of(activation_id, 0..3)),
            log.write(Write { request_id: ids[3], ..one_event() }),
        )
    };
    deaf.store(true, Ordering::SeqCst);
    let (a, b, c, d) = send().await;
    for unheard in [a, b, c, d] {
        assert!(matches!(unheard, Err(WriteError::Database(_))), "{unheard:?}");
    }
    deaf.store(false, Ordering::SeqCst);
    let position = "SELECT position FROM ledger.head";
    assert_eq!(number(&mut database.connect().await, position).await, 310);
    let (a, b, c, d) = send().await;
    let places = [(5, 5), (6, 305), (306, 309), (310, 310)];
    for (answer, (first, last)) in [a, b, c, d].into_iter().zip(places) {
        let before = Written { positions: Some((first.into(), last.into())), repeated: true };
        assert_eq!(answer.unwrap(), before);
    }
    let fresh = open(&database).await;
    assert_eq!(log.tree().await.unwrap(), fresh.tree().await.unwrap());
    assert_eq!(log.state().await.unwrap(), fresh.state().await.unwrap());
    assert_eq!(positions(log.write(one_event()).await), (311, 311));
}
