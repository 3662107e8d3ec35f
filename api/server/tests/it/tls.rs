//! TLS, and a certificate that changes while the server runs.

use crate::node::{DEADLINE, Node};
use api_server::{Running, Tls};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::{Connector, client_async_tls_with_config};

fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let CertifiedKey { cert, signing_key } = made;
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("written");
    std::fs::write(folder.join("cert.pem"), cert.pem()).expect("written");
    cert.der().clone()
}

/// Returns whether a client that trusts only the certificate gets an answer.
async fn is_shown(running: &Running, trusted: &CertificateDer<'static>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(running.address()).await.expect("connected");
    let url = format!("wss://localhost:{}/v1/agent/socket", running.address().port());
    let connector = Some(Connector::Rustls(Arc::new(config)));
    match client_async_tls_with_config(url, socket, None, connector).await {
        // Without a token the server refuses, over TLS.
        Err(Error::Http(response)) => response.status() == 401,
        Err(_) => false,
        Ok(_) => panic!("a socket without a token"),
    }
}

#[tokio::test]
async fn a_changed_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = certificate(folder.path());
    let files = Tls { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    let node = Node::with_tls(files).await;
    assert!(is_shown(&node.running, &first).await);
    // What cannot be used changes nothing.
    std::fs::write(folder.path().join("cert.pem"), "no certificate").expect("written");
    assert!(is_shown(&node.running, &first).await);
    let second = certificate(folder.path());
    let changed = async {
        while !is_shown(&node.running, &second).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, changed).await.expect("read again in time");
    assert!(!is_shown(&node.running, &first).await);
    node.stop().await;
}
