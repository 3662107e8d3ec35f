//! What the API's description says of the core's types, which know nothing of it.
//!
//! Each stand-in is named as the type in `ledger-core` that it describes, and
//! never made: fields name it with `schema(value_type = …)`. Bounds come from
//! [`ledger_core::limits`], words from the code's own lists.

use crate::http::IssueTokenRequest;
use crate::problem::Code;
use ledger_core::event::Reach as CoreReach;
use ledger_core::limits;
use ledger_core::record::ActorKind as CoreActorKind;
use ledger_core::rights::TokenKind as CoreKind;
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder,
    OneOfBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// The largest integer that every JSON reader takes exactly.
pub const INTEGER_MAX: u64 = limits::EVENT_INTEGER_MAX - 1;

/// What is said of a kind of text.
struct Text {
    what: &'static str,
    pattern: &'static str,
    chars: (usize, usize),
    example: &'static str,
}

impl Text {
    fn schema(&self) -> RefOr<Schema> {
        let (min, max) = self.chars;
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(self.what))
            .pattern(Some(self.pattern))
            .min_length(Some(min))
            .max_length(Some(max))
            .examples([self.example])
            .into()
    }
}

fn uuid(what: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .description(Some(what))
        .examples(["0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90"])
        .into()
}

fn integer(what: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0.0))
        .maximum(Some(INTEGER_MAX as f64))
        .description(Some(what))
        .into()
}

fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

fn words<'a>(what: &str, words: impl IntoIterator<Item = &'a str>) -> RefOr<Schema> {
    one_of(words).description(Some(what)).into()
}

/// Declares a stand-in for each type, and the list of them all.
macro_rules! stand_ins {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)*) => {
        $(
            $(#[doc = $doc])+
            pub enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let what = concat!($($doc),+).trim();
                    let schema: fn(&'static str) -> RefOr<Schema> = $schema;
                    schema(what)
                }
            }

            impl ToSchema for $name {}
        )*

        /// Returns every stand-in by its name, for the description to refer to.
        pub fn stand_ins() -> Vec<(String, RefOr<Schema>)> {
            vec![
                $(named::<$name>(),)*
                named::<Actor>(),
                named::<Annex>(),
                named::<OutputDigest>(),
            ]
        }
    };
}

stand_ins! {
    /// The name of a workspace.
    WorkspaceName = |what| Text {
        what,
        pattern: "^[a-z0-9][a-z0-9-]*$",
        chars: (1, limits::WORKSPACE_NAME_CHARS_MAX),
        example: "default",
    }.schema();
    /// The name of an agent, unique in its workspace.
    AgentName = |what| Text {
        what,
        pattern: "^[A-Za-z0-9][A-Za-z0-9._@+-]*$",
        chars: (1, limits::AGENT_NAME_CHARS_MAX),
        example: "web-1",
    }.schema();
    /// A pattern over agent names: `*` stands for any characters, `?` for one.
    AgentPattern = |what| Text {
        what,
        pattern: "^[A-Za-z0-9._@+*?-]+$",
        chars: (1, limits::AGENT_NAME_CHARS_MAX),
        example: "web-*",
    }.schema();
    /// A Nix system.
    System = |what| Text {
        what,
        pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        chars: (1, limits::SYSTEM_CHARS_MAX),
        example: "x86_64-linux",
    }.schema();
    /// A version or name that a program gives of itself.
    ProgramVersion = |what| Text {
        what,
        pattern: "^[A-Za-z0-9][A-Za-z0-9._+-]*$",
        chars: (1, limits::VERSION_CHARS_MAX),
        example: "0.1.0",
    }.schema();
    /// A whole store path, and no derivation.
    StorePath = |what| Text {
        what,
        pattern: "^/nix/store/[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]+$",
        chars: ("/nix/store/".len() + 32 + 2, "/nix/store/".len() + 33 + limits::STORE_NAME_CHARS_MAX),
        example: "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-nixos-system-web-1-24.05",
    }.schema();
    /// An Ed25519 public key: base 64 of its 32 bytes.
    PublicKey = |what| Text {
        what,
        pattern: "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$",
        chars: (44, 44),
        example: "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
    }.schema();
    /// The text of a token: a prefix that says its kind, and 32 random bytes in base 64 for URLs.
    Secret = |what| Text {
        what,
        pattern: "^ldg_(agent|activate|read|admin)_[A-Za-z0-9_-]{43}$",
        chars: (52, 56),
        example: "ldg_read_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA",
    }.schema();
    /// A tile's place: its index in groups of three digits, all but the last behind
    /// an x, and `.p/WIDTH` for a part of it.
    TilePath = |what| Text {
        what,
        pattern: r"^(x(00[1-9]|0[1-9][0-9]|[1-9][0-9]{2})/(x[0-9]{3}/){0,4})?[0-9]{3}(\.p/([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$",
        chars: (3, 40),
        example: "x001/234",
    }.schema();
    /// A hash of the tree: SHA-256, in base 64.
    NodeHash = |what| Text {
        what,
        pattern: "^[A-Za-z0-9+/]{43}=$",
        chars: (44, 44),
        example: "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
    }.schema();
    /// A BLAKE3 digest: 64 hexadecimal digits.
    Digest = |what| Text {
        what,
        pattern: "^[0-9a-f]{64}$",
        chars: (64, 64),
        example: "9d9bd6fab2a9524a02e0c9f2dd85c336c8a753887b349accc1e2bf06cd13f6a4",
    }.schema();
    /// A word that a CI gives: printable ASCII without spaces.
    CiText = |what| Text {
        what,
        pattern: "^[!-~]+$",
        chars: (1, 200),
        example: "acme/infra",
    }.schema();
    /// One stream of the log.
    StreamId = |what| Text {
        what,
        pattern: "^((workspace|sessions|health)/[a-z0-9][a-z0-9-]{0,62}|agent/[a-z0-9][a-z0-9-]{0,62}/[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}|(activation|node)/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$",
        chars: (8, 200),
        example: "agent/default/web-1",
    }.schema();
    /// A deployment as people name it: by its id, or as its agent and its number among the agent's.
    DeploymentRef = |what| Text {
        what,
        pattern: "^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}#[0-9]{1,15})$",
        chars: (3, 144),
        example: "web-1#7",
    }.schema();
    /// One event's id.
    EventId = uuid;
    /// The id of a write, a UUIDv7 that its client makes and keeps through every retry.
    RequestId = uuid;
    /// The id of an activation, which its client makes as a UUIDv7.
    ActivationId = uuid;
    /// The id of a deployment.
    DeploymentId = uuid;
    /// The id of one connection of one agent.
    SessionId = uuid;
    /// The id of a server.
    NodeId = uuid;
    /// The id of a token, without its secret.
    TokenId = uuid;
    /// A place in the whole log, from 1 and gapless; 0 is before the first.
    Position = integer;
    /// A place in one stream, from 1 and gapless; 0 is before the first.
    Version = integer;
    /// A number.
    Integer = integer;
    /// A moment in UTC, in microseconds.
    Timestamp = |what| ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some(what))
        .examples(["2026-03-01T12:00:00.000000Z"])
        .into();
    /// What a token is for.
    TokenKind = |what| words(what, CoreKind::ALL.iter().map(|kind| kind.as_str()));
    /// Something that a request may need.
    Right = |what| words(what, ledger_core::rights::Right::ALL.iter().map(|right| right.as_str()));
    /// What a token may see: the workspace that it was issued in, or the whole ledger.
    Reach = |what| words(what, CoreReach::ALL.iter().map(|reach| reach.as_str()));
    /// What a closure is, and so how it is activated.
    ClosureKind = |what| {
        words(what, ledger_core::event::ClosureKind::ALL.iter().map(|kind| kind.as_str()))
    };
    /// At which point and why a deployment failed.
    FailureReason = |what| {
        words(what, ledger_core::event::FailureReason::ALL.iter().map(|reason| reason.as_str()))
    };
    /// What a machine runs after a failure.
    FailureOutcome = |what| {
        words(what, ledger_core::event::FailureOutcome::ALL.iter().map(|outcome| outcome.as_str()))
    };
    /// What kind of thing acted.
    ActorKind = |what| {
        words(what, CoreActorKind::ALL.iter().map(|kind| kind.as_str()))
    };
    /// The CI run that an activation came from, as the CI's own environment says.
    CiRun = |what| ObjectBuilder::new()
        .description(Some(what))
        .property("provider", refer::<ProgramVersion>())
        .property("repository", or_null::<CiText>())
        .property("run", or_null::<CiText>())
        .property("revision", or_null::<CiText>())
        .required("provider")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .into();
    /// An event's payload. Its keys are those of the event's type.
    Payload = |what| ObjectBuilder::new().description(Some(what)).into();
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        words("What went wrong, for programs.", Self::ALL.iter().map(|code| code.as_str()))
    }
}

impl ToSchema for Code {}

/// Who caused an event: a kind and an opaque id, never a person's name.
#[derive(ToSchema)]
pub struct Actor {
    /// What kind of thing acted.
    pub kind: ActorKind,
    /// The token's id, the agent's name or the node's id.
    pub id: String,
}

/// What may be erased of an event: where it came from, and what was said.
#[derive(ToSchema)]
pub struct Annex {
    /// The network address that the request came from.
    #[schema(required = false, nullable = false)]
    pub address: Option<String>,
    /// The program that sent the request, as it named itself.
    #[schema(required = false, nullable = false)]
    pub client: Option<String>,
    /// A description or reason that a person gave.
    #[schema(required = false, nullable = false)]
    pub description: Option<String>,
    /// What a failing program said.
    #[schema(required = false, nullable = false)]
    pub error: Option<String>,
}

/// The evidence for a deployment's output.
#[derive(ToSchema)]
pub struct OutputDigest {
    /// BLAKE3 of all bytes.
    pub blake3: Digest,
    /// How many bytes.
    pub bytes: Integer,
}

fn or_null<T: ToSchema>() -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(null).item(refer::<T>()).into()
}

fn named<T: ToSchema>() -> (String, RefOr<Schema>) {
    (T::name().into_owned(), T::schema())
}

/// Refers to a type by its name.
pub fn refer<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// The body that issues a token: [`IssueTokenRequest`], and what its parts ask of
/// each other.
pub fn issue_token() -> RefOr<Schema> {
    let kinds = CoreKind::ALL.iter().map(|kind| match kind {
        CoreKind::Agent | CoreKind::Activate => {
            of_kind(*kind, &[CoreReach::Workspace], limits::TOKEN_PATTERNS_MAX)
        }
        CoreKind::Read | CoreKind::Admin => of_kind(*kind, CoreReach::ALL, 0),
    });
    let any = kinds.fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    AllOfBuilder::new().item(refer::<IssueTokenRequest>()).item(any).into()
}

fn of_kind(kind: CoreKind, reaches: &[CoreReach], patterns_max: usize) -> RefOr<Schema> {
    let secret = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^{}[A-Za-z0-9_-]{{43}}$", kind.prefix())));
    let reaches = reaches.iter().map(|reach| reach.as_str());
    ObjectBuilder::new()
        .property("kind", one_of([kind.as_str()]))
        .property("secret", secret)
        .property("reach", one_of(reaches))
        .property(
            "agents",
            ArrayBuilder::new().items(refer::<AgentPattern>()).max_items(Some(patterns_max)),
        )
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    /// Reads the examples of a stand-in as the type that it stands for.
    fn examples_are<T: DeserializeOwned>(schema: RefOr<Schema>) {
        let schema = serde_json::to_value(schema).expect("encodes");
        let examples = schema["examples"].as_array().expect("has examples");
        for example in examples {
            let read = serde_json::from_value::<T>(example.clone());
            assert!(read.is_ok(), "{example} is none, but {schema} says so");
        }
    }

    #[test]
    fn the_examples_are_what_they_stand_for() {
        use ledger_core::{self as core, event, key, names};
        examples_are::<names::WorkspaceName>(WorkspaceName::schema());
        examples_are::<names::AgentName>(AgentName::schema());
        examples_are::<names::AgentPattern>(AgentPattern::schema());
        examples_are::<names::System>(System::schema());
        examples_are::<names::ProgramVersion>(ProgramVersion::schema());
        examples_are::<names::StorePath>(StorePath::schema());
        examples_are::<key::PublicKey>(PublicKey::schema());
        examples_are::<event::Digest>(Digest::schema());
        examples_are::<event::CiText>(CiText::schema());
        examples_are::<core::StreamId>(StreamId::schema());
        examples_are::<core::EventId>(EventId::schema());
        examples_are::<core::Timestamp>(Timestamp::schema());
    }

    #[test]
    fn words_are_the_code_s_own() {
        let schema = serde_json::to_value(TokenKind::schema()).expect("encodes");
        assert_eq!(schema["enum"], json!(CoreKind::ALL));
        let body = serde_json::to_value(issue_token()).expect("encodes");
        let kinds = body["allOf"][1]["anyOf"].as_array().expect("a list");
        assert_eq!(kinds.len(), CoreKind::ALL.len());
    }
}
