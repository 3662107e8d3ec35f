//! The listener: the one module that knows axum-server.
//!
//! Every connection counts against a bound, has a deadline for its first byte and
//! for each request's head, and ends when the server stops.

use crate::limits;
use axum::Router;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

/// A listener that serves.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    handle: Handle<SocketAddr>,
    ended: watch::Receiver<Option<Ended>>,
}

/// How serving ended: well, or with what.
pub(crate) type Ended = Result<(), Arc<io::Error>>;

impl Listener {
    /// Listens, and serves the router from now on.
    pub(crate) async fn start(
        address: SocketAddr,
        tls: Option<RustlsConfig>,
        router: Router,
    ) -> io::Result<Self> {
        Self::start_bounded(address, tls, router, limits::CONNECTIONS_MAX).await
    }

    /// Listens as [`Listener::start`] does, for a few who ask for little, in the clear.
    pub(crate) async fn start_small(address: SocketAddr, router: Router) -> io::Result<Self> {
        Self::start_bounded(address, None, router, limits::METRICS_CONNECTIONS_MAX).await
    }

    async fn start_bounded(
        address: SocketAddr,
        tls: Option<RustlsConfig>,
        router: Router,
        connections_max: usize,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let handle = Handle::new();
        let server = Server::from_listener(listener).handle(handle.clone());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let permits = Arc::new(Semaphore::new(connections_max));
        let (sender, ended) = watch::channel(None);
        match tls {
            None => {
                let mut server = server.acceptor(Bounded { inner: NoDelayAcceptor, permits });
                bound(&mut server);
                tokio::spawn(serve(server.serve(service), sender));
            }
            Some(config) => {
                let inner = RustlsAcceptor::new(config)
                    .handshake_timeout(limits::TLS_HANDSHAKE_TIMEOUT)
                    .acceptor(NoDelayAcceptor);
                let mut server = server.acceptor(Bounded { inner, permits });
                bound(&mut server);
                tokio::spawn(serve(server.serve(service), sender));
            }
        }
        Ok(Self { address, handle, ended })
    }

    /// Returns when serving has ended.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(ended) => ended.unwrap_or(Ok(())),
            Err(_) => Err(Arc::new(io::Error::other("the listener's task is gone"))),
        }
    }

    /// Lets requests under way end, takes no more, and returns when all is over.
    pub(crate) async fn stop(self) {
        self.handle.graceful_shutdown(Some(limits::STOP_TIMEOUT));
        if let Err(error) = self.ended().await {
            tracing::warn!(%error, "The listener ended badly.");
        }
    }
}

async fn serve(serving: impl Future<Output = io::Result<()>>, ended: watch::Sender<Option<Ended>>) {
    let result = serving.await.map_err(Arc::new);
    ended.send_replace(Some(result));
}

fn bound<A>(server: &mut Server<SocketAddr, A>) {
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ_TIMEOUT)
        .max_buf_size(limits::HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_INTERVAL)
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX as u32);
}

/// Accepts at most so many connections at once, sockets of agents included.
#[derive(Clone)]
struct Bounded<A> {
    inner: A,
    permits: Arc<Semaphore>,
}

type Accepting<T, S> = Pin<Box<dyn Future<Output = io::Result<(T, S)>> + Send>>;

impl<A, S> Accept<TcpStream, S> for Bounded<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
{
    type Stream = Counted<A::Stream>;
    type Service = A::Service;
    type Future = Accepting<Self::Stream, Self::Service>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let permit = self.permits.clone().try_acquire_owned();
        // Inside the bound only is a handshake begun.
        let inner = permit.is_ok().then(|| self.inner.accept(stream, service));
        Box::pin(async move {
            let (Ok(permit), Some(inner)) = (permit, inner) else {
                tracing::warn!("Too many connections; one is turned away.");
                return Err(io::Error::other("too many connections"));
            };
            let (stream, service) = inner.await?;
            let first_byte = Some(Box::pin(tokio::time::sleep(limits::FIRST_BYTE_TIMEOUT)));
            let (writing, flushing) = (Progress::default(), Progress::default());
            Ok((Counted { stream, first_byte, writing, flushing, _permit: permit }, service))
        })
    }
}

/// A connection that counts, that must begin to speak in time, and that must take
/// what is written to it.
struct Counted<S> {
    stream: S,
    /// Gone with the first byte.
    first_byte: Option<Pin<Box<Sleep>>>,
    writing: Progress,
    flushing: Progress,
    _permit: OwnedSemaphorePermit,
}

/// Watches that something which waits goes on in time. Nothing runs while nothing
/// waits: a connection may be idle for as long as it likes.
#[derive(Default)]
struct Progress {
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Progress {
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.deadline = None;
            return poll;
        }
        let begin = || Box::pin(tokio::time::sleep(limits::WRITE_PROGRESS_TIMEOUT));
        let deadline = self.deadline.get_or_insert_with(begin);
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                self.first_byte = None;
                Poll::Ready(read)
            }
            Poll::Pending => {
                let Some(deadline) = &mut self.first_byte else { return Poll::Pending };
                deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.writing.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.writing.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.flushing.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.flushing.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn listener(connections_max: usize) -> Listener {
        let router = Router::new().route("/", get(|| async { "hello" }));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Listener::start_bounded(address, None, router, connections_max).await.expect("listening")
    }

    async fn connect(listener: &Listener) -> TcpStream {
        TcpStream::connect(listener.address).await.expect("connected")
    }

    /// Returns what the server says until it closes the connection.
    async fn read_out(socket: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        // A reset is an end, too.
        let _ = socket.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The clock stands still but for timers: whatever ends here, a timer ended.
    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_speak_or_speaks_too_slowly_is_cut_off() {
        let listener = listener(10).await;
        for start in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            let mut socket = connect(&listener).await;
            socket.write_all(start).await.expect("sent");
            let said = timeout(Duration::from_secs(60), read_out(&mut socket)).await;
            let said = said.unwrap_or_else(|_| panic!("{start:?} was let wait"));
            assert!(!said.contains("200 OK"), "{said}");
        }
        listener.stop().await;
    }

    fn counted<S>(stream: S) -> Counted<S> {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("one is free");
        let (writing, flushing) = (Progress::default(), Progress::default());
        Counted { stream, first_byte: None, writing, flushing, _permit: permit }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_reads_is_cut_off_and_who_reads_slowly_is_not() {
        let (ours, theirs) = tokio::io::duplex(64);
        let written = timeout(Duration::from_secs(60), counted(ours).write_all(&[0; 65])).await;
        let error = written.expect("not for ever").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);

        let (ours, mut theirs) = tokio::io::duplex(64);
        let reader = tokio::spawn(async move {
            // The clock of the test jumps from timer to timer; nothing is waited for.
            let mut bytes = [0; 64];
            let mut read = 0;
            while read < 640 {
                tokio::time::sleep(limits::WRITE_PROGRESS_TIMEOUT * 9 / 10).await;
                read += theirs.read(&mut bytes).await.expect("read");
            }
            theirs
        });
        let mut ours = counted(ours);
        ours.write_all(&[0; 640]).await.expect("taken, slowly");
        let mut theirs = reader.await.expect("read");
        // What is idle is not watched.
        let idle = timeout(limits::WRITE_PROGRESS_TIMEOUT * 100, ours.read_u8()).await;
        assert!(idle.is_err(), "an idle connection ended");
        ours.write_all(&[7]).await.expect("still open");
        assert_eq!(theirs.read_u8().await.expect("still open"), 7);
    }

    #[tokio::test]
    async fn one_connection_too_many_is_turned_away_until_another_ends() {
        let listener = listener(2).await;
        let mut held = [connect(&listener).await, connect(&listener).await];
        for socket in &mut held {
            socket.write_all(REQUEST).await.expect("sent");
            let mut answer = [0; 12];
            socket.read_exact(&mut answer).await.expect("answered");
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        let mut refused = connect(&listener).await;
        assert_eq!(read_out(&mut refused).await, "");
        drop(held);
        let served = async {
            loop {
                let mut socket = connect(&listener).await;
                let _ = socket.write_all(REQUEST).await;
                let mut answer = [0; 12];
                if socket.read_exact(&mut answer).await.is_ok() {
                    return answer;
                }
            }
        };
        let answer = timeout(Duration::from_secs(20), served).await;
        assert_eq!(&answer.expect("in time"), b"HTTP/1.1 200");
        listener.stop().await;
    }
}
