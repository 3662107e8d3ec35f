//! Many producers at once, each of which sends a request until it is answered,
//! and the book of what was acknowledged to them.

use super::agents;
use crate::rig::DEADLINE;
use crate::rig::random::Random;
use api_client::endpoint::Endpoint;
use api_client::http::{Client, RequestError, new_request_id};
use api_wire::http::{ActivateRequest, CreateWorkspaceRequest, IssueTokenRequest};
use api_wire::token::Secret;
use ledger_core::event::Reach;
use ledger_core::names::{AgentName, WorkspaceName};
use ledger_core::rights::TokenKind;
use ledger_core::{DeploymentId, Position, RequestId, SessionId};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Producers, each awaiting its acknowledgement: what waits together is
/// committed together, and dies together.
const N_PRODUCERS: usize = 32;
/// How soon a server that lives, but could not answer, is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// For how long a server that could not be reached is taken for dead, if no other is
/// named: longer than a start takes. Its port may meanwhile be somebody else's.
const SILENCE: Duration = Duration::from_secs(10);

/// A server that can be reached, from one death to the next.
#[derive(Clone)]
pub(super) struct Run {
    /// From 1 on; 0 stands for none yet.
    pub(super) number: usize,
    pub(super) client: Client,
}

impl Run {
    pub(super) fn new(number: usize, url: &str, token: &str) -> Self {
        let secret = Secret::parse(token).expect("it is a token");
        let endpoint = Endpoint::new(url, secret).expect("it is the address of a server");
        let client = Client::new(endpoint, "ledger-test").expect("a client can be made");
        // Who retries here knows when the server is back.
        Self { number, client: client.with_patience(Duration::ZERO) }
    }
}

/// The newest run. When it is gone, so is the test.
pub(super) type Runs = watch::Receiver<Run>;

/// A write that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    pub(super) request: RequestId,
    pub(super) deed: Deed,
    /// The run in which it was sent first, and the one that answered.
    pub(super) sent_in: usize,
    pub(super) answered_in: usize,
}

/// What was written, as the answer tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Workspace {
        name: WorkspaceName,
        position: Position,
    },
    Token,
    Activation {
        position: Position,
        deployments: Vec<(AgentName, DeploymentId, u64)>,
    },
    /// An agent's claim or report.
    Step {
        agent: AgentName,
        deployment: DeploymentId,
        type_name: &'static str,
    },
}

/// Everything that was acknowledged, in about the order of the answers.
#[derive(Default)]
pub(super) struct Book {
    acknowledged: Mutex<Vec<Acknowledged>>,
    sessions: Mutex<Vec<SessionId>>,
    /// Requests that were refused, and so must not be in the log.
    refused: Mutex<Vec<RequestId>>,
    entries: watch::Sender<usize>,
}

impl Book {
    pub(super) fn note(&self, acknowledged: Acknowledged) {
        self.acknowledged.lock().expect("nobody panicked with it").push(acknowledged);
        self.entries.send_modify(|entries| *entries += 1);
    }

    pub(super) fn note_session(&self, session: SessionId) {
        self.sessions.lock().expect("nobody panicked with it").push(session);
        self.entries.send_modify(|entries| *entries += 1);
    }

    pub(super) fn note_refused(&self, request: RequestId) {
        self.refused.lock().expect("nobody panicked with it").push(request);
    }

    /// What came after the first `known`.
    pub(super) fn acknowledged(&self, known: usize) -> Vec<Acknowledged> {
        self.acknowledged.lock().expect("nobody panicked with it")[known..].to_vec()
    }

    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.sessions.lock().expect("nobody panicked with it").clone()
    }

    pub(super) fn refused(&self) -> Vec<RequestId> {
        self.refused.lock().expect("nobody panicked with it").clone()
    }
}

/// Producers and agents at work.
pub(super) struct Load {
    pub(super) runtime: Arc<Runtime>,
    pub(super) book: Arc<Book>,
    runs: watch::Sender<Run>,
    enough: watch::Sender<bool>,
    producers: JoinSet<()>,
    agents: Vec<JoinHandle<()>>,
}

impl Load {
    /// Connects the agents to the first run, and then sets the producers to work.
    pub(super) fn start(first: Run, seed: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = Arc::new(runtime.expect("a runtime can be made"));
        let book = Arc::new(Book::default());
        let token = runtime.block_on(agent_token(&first.client, &book));
        let (runs, seen) = watch::channel(first);
        let agents = agents::start(&runtime, &seen, &token, &book);
        let mut load = Self {
            runtime,
            book,
            runs,
            enough: watch::Sender::new(false),
            producers: JoinSet::new(),
            agents,
        };
        // The first entry is the agents' token.
        load.wait_for_entries(1 + agents::NAMES.len());
        for n in 0..N_PRODUCERS {
            let producer = Producer {
                n,
                random: Random::new(seed.wrapping_add(n as u64)),
                runs: seen.clone(),
                enough: load.enough.subscribe(),
                book: load.book.clone(),
            };
            load.producers.spawn_on(producer.run(), load.runtime.handle());
        }
        load
    }

    /// Says that a server is there.
    pub(super) fn open(&mut self, run: Run) {
        assert!(!self.agents.iter().any(JoinHandle::is_finished), "an agent gave up");
        assert!(self.producers.try_join_next().is_none(), "a producer gave up");
        self.runs.send_replace(run);
    }

    /// Waits until so much was acknowledged in all.
    pub(super) fn wait_for_entries(&self, n: usize) {
        let mut entries = self.book.entries.subscribe();
        let enough =
            async { timeout(DEADLINE, entries.wait_for(|entries| *entries >= n)).await.map(drop) };
        let enough = self.runtime.block_on(enough);
        enough.unwrap_or_else(|_| panic!("after {DEADLINE:?}, not {n} writes are acknowledged"));
    }

    pub(super) fn entries(&self) -> usize {
        *self.book.entries.borrow()
    }

    /// Lets every producer have its last answer.
    pub(super) fn finish(&mut self) {
        self.enough.send_replace(true);
        let producers = std::mem::take(&mut self.producers);
        let finished = async { timeout(DEADLINE, producers.join_all()).await };
        self.runtime.block_on(finished).expect("every request is answered in the end");
    }

    /// Ends with the agents, whose server is gone.
    pub(super) fn end(self) {
        drop(self.runs);
        for agent in self.agents {
            agent.join().expect("an agent ends well");
        }
    }
}

async fn agent_token(client: &Client, book: &Book) -> String {
    let Request::Token(mut request) = Request::token() else { unreachable!("it is one") };
    let secret = Secret::new(TokenKind::Agent, &random_text());
    request.kind = TokenKind::Agent;
    request.secret = secret.reveal().to_owned();
    client.issue_token(&request).await.expect("a server that just started answers");
    let request = request.request_id;
    book.note(Acknowledged { request, deed: Deed::Token, sent_in: 1, answered_in: 1 });
    secret.reveal().to_owned()
}

/// One that writes, and waits for the answer before it writes again.
struct Producer {
    n: usize,
    random: Random,
    runs: Runs,
    enough: watch::Receiver<bool>,
    book: Arc<Book>,
}

impl Producer {
    async fn run(mut self) {
        let mut n_made = 0;
        while !*self.enough.borrow() {
            n_made += 1;
            let request = match self.random.below(24) {
                0 => Request::activation(),
                1..=3 => Request::token(),
                _ => Request::workspace(self.n, n_made),
            };
            let acknowledged = self.send(&request).await;
            if self.random.below(8) == 0 {
                // As after an answer that was lost on its way.
                let again = self.send(&request).await;
                assert_eq!(again.deed, acknowledged.deed, "{request:?} counts twice");
            }
            self.book.note(acknowledged);
        }
    }

    /// Sends the request, under its one id, until it is answered.
    async fn send(&mut self, request: &Request) -> Acknowledged {
        let sent_in = self.runs.borrow().number;
        loop {
            let run = self.runs.borrow().clone();
            let answered_in = run.number;
            let error = match request.send(&run.client).await {
                Ok(deed) => {
                    return Acknowledged { request: request.id(), deed, sent_in, answered_in };
                }
                Err(error) => error,
            };
            assert!(error.is_transient(), "{request:?} is refused: {error:?}");
            let patience = if error.code().is_some() { ASK_AGAIN } else { SILENCE };
            // It is sent again in any case; only when is left to the news.
            let _ = timeout(patience, self.runs.wait_for(|next| next.number > run.number)).await;
        }
    }
}

/// What a producer asks for.
#[derive(Debug)]
enum Request {
    Workspace(CreateWorkspaceRequest),
    Token(IssueTokenRequest),
    Activation(ActivateRequest),
}

impl Request {
    /// One event, under a name that nobody else takes.
    fn workspace(producer: usize, n: usize) -> Self {
        let name = WorkspaceName::new(format!("w-{producer}-{n}")).expect("a good name");
        Self::Workspace(CreateWorkspaceRequest { request_id: new_request_id(), name })
    }

    /// One event, with an annex.
    fn token() -> Self {
        let secret = Secret::new(TokenKind::Read, &random_text());
        Self::Token(IssueTokenRequest {
            request_id: new_request_id(),
            secret: secret.reveal().to_owned(),
            kind: TokenKind::Read,
            reach: Reach::Workspace,
            agents: Vec::new(),
            expires_in_seconds: None,
            description: Some("of a test".to_owned()),
        })
    }

    /// Several events at once, in several streams, all or none of them.
    fn activation() -> Self {
        Self::Activation(crate::rig::http::activation(agents::NAMES))
    }

    fn id(&self) -> RequestId {
        match self {
            Self::Workspace(request) => request.request_id,
            Self::Token(request) => request.request_id,
            Self::Activation(request) => request.id.into(),
        }
    }

    async fn send(&self, client: &Client) -> Result<Deed, RequestError> {
        match self {
            Self::Workspace(request) => {
                let recorded = client.create_workspace(request).await?;
                let position = recorded.position.expect("a new workspace has an event");
                Ok(Deed::Workspace { name: request.name.clone(), position })
            }
            Self::Token(request) => client.issue_token(request).await.map(|_| Deed::Token),
            Self::Activation(request) => {
                let answer = client.activate(request).await?;
                let deployments = answer.deployments.into_iter().map(|deployment| {
                    let id = deployment.id.expect("it is no dry run");
                    (deployment.agent, id, deployment.index.expect("it is no dry run"))
                });
                let position = answer.position.expect("it is no dry run");
                Ok(Deed::Activation { position, deployments: deployments.collect() })
            }
        }
    }
}

/// The base 64 of 32 bytes, for URLs, of which half are random.
fn random_text() -> String {
    let bytes = [*uuid::Uuid::now_v7().as_bytes(), [0; 16]].concat();
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}
