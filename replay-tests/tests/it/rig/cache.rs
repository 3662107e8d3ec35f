//! A binary cache over HTTP that can hang, fail and go away at will.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::wait_for;

/// How the cache behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers.
    Well,
    /// It takes requests for archives and does not answer until its mood changes.
    Hanging,
    /// It answers everything with status 500.
    Failing,
    /// It closes every connection at once.
    Gone,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    hanging: usize,
    ended: bool,
}

struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

/// A cache that serves a folder until it is dropped.
pub(crate) struct Cache {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Cache {
    pub(crate) fn serve(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it has an address");
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            state: Mutex::new(State { mood: Mood::Well, hanging: 0, ended: false }),
            changed: Condvar::new(),
        });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if server.state().ended {
                    return;
                }
                let server = Arc::clone(&server);
                // A client that went away is its own affair.
                std::thread::spawn(move || drop(server.answer(&stream)));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.shared.state().mood = mood;
        self.shared.changed.notify_all();
    }

    /// Waits until somebody waits for an archive.
    pub(crate) fn wait_until_someone_hangs(&self) {
        wait_for("somebody to ask the hanging cache for an archive", || {
            (self.shared.state().hanging > 0).then_some(())
        });
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.set(Mood::Gone);
        // Wakes the listener, so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = path.trim_start_matches('/');

        match self.mood_for(path) {
            Mood::Gone => return Ok(()),
            Mood::Failing => return respond(stream, "500 Internal Server Error", b"", method),
            Mood::Well | Mood::Hanging => {}
        }
        let inside = !path.is_empty() && !path.contains("..");
        match std::fs::read(self.folder.join(path)) {
            Ok(bytes) if inside => respond(stream, "200 OK", &bytes, method),
            _ => respond(stream, "404 Not Found", b"", method),
        }
    }

    /// Returns the mood for a request, after hanging as long as that is the mood.
    fn mood_for(&self, path: &str) -> Mood {
        let mut state = self.state();
        if state.mood == Mood::Hanging && path.starts_with("nar/") {
            state.hanging += 1;
            state = self
                .changed
                .wait_while(state, |state| state.mood == Mood::Hanging)
                .expect("no holder panics");
            state.hanging -= 1;
        }
        state.mood
    }
}

fn respond(mut stream: &TcpStream, status: &str, body: &[u8], method: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    if method != "HEAD" {
        stream.write_all(body)?;
    }
    stream.flush()
}
