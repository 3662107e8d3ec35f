//! The API's description in OpenAPI 3.1, made from the table of routes.
//!
//! A route says in `routes::described` what it takes and answers. What
//! the table knows of it is added here: method, path, right, and the problems
//! that guard, extractors and deadline answer with.

use crate::auth::guard::Need;
use crate::problem;
use crate::routes::{Route, TABLE};
use api_wire::problem::{CONTENT_TYPE, Code, Problem};
use api_wire::schema::{Integer, refer, stand_ins};
use ledger_core::rights::{Right, TokenKind, holds};
use std::collections::BTreeMap;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::Link;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
    PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Header, InfoBuilder, LicenseBuilder, OpenApi,
    OpenApiBuilder, RefOr, Required, Response, ResponseBuilder, SecurityRequirement, Server,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The name of the one security scheme.
const BEARER: &str = "bearer";

const ABOUT: &str = "\
The HTTP API of Ledger, an event-sourced deployment ledger for Nix profiles.

**Tokens.** Requests carry `Authorization: Bearer <token>`. Each operation names the right that it needs, and the kinds of token that hold it. A token that reaches the whole ledger names the workspace with `?workspace=`, `default` if it does not.

**Writes.** Every write carries a `request_id` (or an activation's `id`) that its client makes as a UUIDv7 and keeps through every retry. The same request again answers what it answered first; another request under the id is refused. A write is answered when it is in the log.

**Lists** come page by page: ask on with the cursor in `next` until there is none.

**Errors** are problems (RFC 9457) with a `code` for programs. With 429 and 503, `Retry-After` says how long to wait. An unknown path answers 404 `not_found`, an unknown method 405 `method_not_allowed` with the header `Allow`.

**Request ids.** Every answer has an `X-Request-Id`, under which the server's own log knows the request: the client's own, if it sent one of 1 to 64 letters, digits and `.`, `_`, `-`, or a fresh one. The `instance` of a problem names it, too.

**Caching.** Where an answer has an `ETag`, `If-None-Match` asks for it only if it has changed.";

/// What a route says of itself.
pub(crate) struct Description {
    summary: &'static str,
    details: &'static str,
    parameters: Vec<Parameter>,
    body: Option<RefOr<Schema>>,
    answers: BTreeMap<u16, Response>,
    codes: Vec<Code>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Description {
    pub(crate) fn new(summary: &'static str, details: &'static str) -> Self {
        Self {
            summary,
            details,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            codes: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// Adds the variable part of the path.
    pub(crate) fn path(mut self, name: &str, schema: RefOr<Schema>, what: &str) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(what))
            .schema(Some(schema));
        self.parameters.push(parameter.build());
        self.refuses(&[Code::BadRequest])
    }

    /// Adds the query.
    pub(crate) fn query<Q: IntoParams>(mut self) -> Self {
        self.parameters.extend(Q::into_params(|| None));
        self.refuses(&[Code::BadRequest])
    }

    /// Adds a JSON body.
    pub(crate) fn body<B: ToSchema>(self) -> Self {
        self.body_of::<B>(refer::<B>())
    }

    /// Adds a JSON body of which more is to be said than its type does.
    pub(crate) fn body_of<B: ToSchema>(mut self, schema: RefOr<Schema>) -> Self {
        self.keep::<B>();
        self.body = Some(schema);
        self
    }

    /// Adds the answer in JSON to a request that was granted.
    pub(crate) fn answers<A: ToSchema>(self, what: &str) -> Self {
        self.answers_with::<A>(200, what)
    }

    /// Adds an answer in JSON under a status of its own.
    pub(crate) fn answers_with<A: ToSchema>(mut self, status: u16, what: &str) -> Self {
        self.keep::<A>();
        self.answers.insert(status, in_json(what, refer::<A>()));
        self
    }

    /// Adds an answer that is not in JSON, or has no body at all.
    pub(crate) fn answers_other(mut self, status: u16, media: Option<&str>, what: &str) -> Self {
        let mut response = ResponseBuilder::new().description(what);
        if let Some(media) = media {
            response = response.content(media, ContentBuilder::new().build());
        }
        self.answers.insert(status, response.build());
        self
    }

    /// Adds another form of the answer to a request that was granted.
    pub(crate) fn also_as(mut self, media: &str) -> Self {
        if let Some(answer) = self.answers.get_mut(&200) {
            answer.content.insert(media.to_owned(), ContentBuilder::new().build().into());
        }
        self
    }

    /// Adds another form of the answer to a request that was granted: lines, each
    /// of which is one of these.
    pub(crate) fn also_lines(mut self, media: &str, line: impl Into<RefOr<Schema>>) -> Self {
        if let Some(answer) = self.answers.get_mut(&200) {
            let content = ContentBuilder::new().schema(Some(line)).build();
            answer.content.insert(media.to_owned(), content.into());
        }
        self
    }

    /// Adds a type that is referred to where none is a whole body.
    pub(crate) fn mentions<T: ToSchema>(mut self) -> Self {
        self.keep::<T>();
        self
    }

    /// Adds a header that may be sent.
    pub(crate) fn header(mut self, name: &str, schema: RefOr<Schema>, what: &str) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(what))
            .schema(Some(schema));
        self.parameters.push(parameter.build());
        self.refuses(&[Code::BadRequest])
    }

    /// Says which operation can go on from the answer.
    pub(crate) fn leads_to(mut self, name: &str, link: Link) -> Self {
        if let Some(answer) = self.answers.get_mut(&200) {
            answer.links.insert(name.to_owned(), link.into());
        }
        self
    }

    /// Adds problems of the route's own.
    pub(crate) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    fn keep<T: ToSchema>(&mut self) {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
    }
}

fn in_json(what: &str, schema: RefOr<Schema>) -> Response {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(what).content("application/json", content).build()
}

impl Route {
    /// Returns every problem that the route can answer with.
    fn codes(&self, description: &Description) -> Vec<Code> {
        let mut codes = description.codes.clone();
        if let Need::AnyOf(_) = self.need {
            codes.extend([Code::Unauthorized, Code::Forbidden, Code::TooManyRequests]);
            codes.extend([Code::Timeout, Code::Internal]);
        }
        if self.body_max > 0 {
            codes.extend([Code::BadRequest, Code::TooLarge, Code::UnsupportedMediaType]);
            codes.extend([Code::IdempotencyMismatch, Code::Unavailable]);
        }
        codes.sort_by_key(|code| (code.status(), code.as_str()));
        codes.dedup();
        codes
    }

    fn operation(&self, description: Description) -> Operation {
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .tag(self.tag())
            .summary(Some(description.summary))
            .description(Some(self.details(&description)));
        for (status, answer) in self.problems(&description) {
            operation = operation.response(status.to_string(), answer);
        }
        for (status, mut answer) in description.answers {
            if status == 200 && self.tagged {
                answer.headers.insert("ETag".to_owned(), etag().into());
            }
            if problem::is_to_be_retried(status) {
                answer.headers.insert("Retry-After".to_owned(), retry_after().into());
            }
            operation = operation.response(status.to_string(), answer);
        }
        for parameter in description.parameters {
            operation = operation.parameter(parameter);
        }
        if self.tagged {
            let unchanged = ResponseBuilder::new()
                .description("Nothing has changed since the answer with the ETag.")
                .header("ETag", etag());
            operation = operation.response("304", unchanged).parameter(if_none_match());
        }
        if let Some(schema) = description.body {
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let body = RequestBodyBuilder::new()
                .content("application/json", content)
                .required(Some(Required::True));
            operation = operation.request_body(Some(body.build()));
        }
        operation.securities(Some(self.securities())).build()
    }

    /// What one asks about: the first word of the path.
    fn tag(&self) -> &'static str {
        match self.path.strip_prefix("/v1/") {
            None => "monitoring",
            Some(rest) if rest.starts_with("docs") || rest.starts_with("openapi") => "description",
            Some(rest) => rest.split('/').next().unwrap_or(rest),
        }
    }

    fn details(&self, description: &Description) -> String {
        let details = description.details;
        let Need::AnyOf(rights) = self.need else { return format!("{details}\n\nNeeds no token.") };
        let needs: Vec<String> = rights.iter().map(|right| needs(*right)).collect();
        format!("{details}\n\nNeeds {}.", needs.join(", or "))
    }

    fn securities(&self) -> Vec<SecurityRequirement> {
        match self.need {
            Need::Nothing => Vec::new(),
            Need::AnyOf(rights) => rights
                .iter()
                .map(|right| SecurityRequirement::new(BEARER, [right.as_str()]))
                .collect(),
        }
    }

    /// Returns an answer for each status of the problems, which names their codes.
    fn problems(&self, description: &Description) -> BTreeMap<u16, Response> {
        let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for code in self.codes(description) {
            let line = format!("`{}`: {}.", code.as_str(), code.title());
            by_status.entry(code.status()).or_default().push(line);
        }
        let answer = |status, lines: Vec<String>| {
            let content = ContentBuilder::new().schema(Some(refer::<Problem>())).build();
            let mut answer = ResponseBuilder::new()
                .description(lines.join("\n\n"))
                .content(CONTENT_TYPE, content);
            if status == Code::Unauthorized.status() {
                answer = answer.header("WWW-Authenticate", challenge());
            }
            if problem::is_to_be_retried(status) {
                answer = answer.header("Retry-After", retry_after());
            }
            answer.build()
        };
        by_status.into_iter().map(|(status, lines)| (status, answer(status, lines))).collect()
    }
}

fn needs(right: Right) -> String {
    let kinds = TokenKind::ALL.iter().filter(|kind| holds(**kind, right));
    let kinds: Vec<&str> = kinds.map(|kind| kind.as_str()).collect();
    let reach = match right {
        Right::ManageLedger => " that reach the whole ledger",
        _ => "",
    };
    format!("the right `{right}`, which tokens of kind {}{reach} hold", kinds.join(" and "))
}

fn etag() -> Header {
    let what = "A strong validator of the body.";
    HeaderBuilder::new().schema(Some(String::schema())).description(Some(what)).build()
}

fn challenge() -> Header {
    let what = "`Bearer`: send a token.";
    HeaderBuilder::new().schema(Some(String::schema())).description(Some(what)).build()
}

fn retry_after() -> Header {
    let what = "Seconds to wait before the same request is sent again.";
    HeaderBuilder::new().schema(Some(refer::<Integer>())).description(Some(what)).build()
}

fn if_none_match() -> Parameter {
    ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The ETag of the answer that the client holds."))
        .schema(Some(String::schema()))
        .build()
}

/// Makes the whole description.
pub(crate) fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components =
        ComponentsBuilder::new().schemas_from_iter(stand_ins()).security_scheme(BEARER, bearer());
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    for route in TABLE {
        let mut description = (route.describe)();
        schemas.append(&mut description.schemas);
        let method = match route.method {
            "POST" => HttpMethod::Post,
            _ => HttpMethod::Get,
        };
        // The router's mark of a part with slashes is none of the description's.
        let path = route.path.replace("{*", "{");
        paths = paths.path(path, PathItem::new(method, route.operation(description)));
    }
    components = components.schemas_from_iter(schemas);
    let info = InfoBuilder::new()
        .title("Ledger")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()));
    OpenApiBuilder::new()
        .info(info)
        // Against the description's own address, so that a proxy's prefix is kept.
        .servers(Some([Server::new("..")]))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn bearer() -> SecurityScheme {
    let what = "A token of Ledger, like `ldg_read_…`.";
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what));
    SecurityScheme::Http(scheme.build())
}

#[cfg(test)]
impl Route {
    /// Returns whether the description knows of the answer: its status, and the
    /// code if it is a problem.
    pub(crate) fn describes(&self, status: u16, code: Option<&str>) -> bool {
        let description = (self.describe)();
        match code {
            Some(code) => self
                .codes(&description)
                .iter()
                .any(|known| known.as_str() == code && known.status() == status),
            None => description.answers.contains_key(&status) || status == 304 && self.tagged,
        }
    }
}
