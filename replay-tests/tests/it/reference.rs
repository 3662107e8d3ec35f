//! The manual's page of the HTTP API, made from its description.

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// `UPDATE_DOCS=1 cargo test -p replay-tests reference` writes it.
#[test]
fn the_manual_s_page_of_the_api_is_its_description() {
    let description = fs::read_to_string(docs().join("openapi.json")).expect("it is there");
    let description: Value = serde_json::from_str(&description).expect("it is JSON");
    let page = page(&description);
    let path = docs().join("reference/api.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let found = fs::read_to_string(&path).expect("the page is there");
    assert!(
        found == page,
        "docs/reference/api.md is not what openapi.json says; UPDATE_DOCS=1 writes it"
    );
}

fn page(description: &Value) -> String {
    let mut page = "# The HTTP API\n\nMade from [openapi.json](../openapi.json), which is made from the code; tests hold all three together. Every server shows the same at `/v1/docs`.\n".to_owned();
    if let Some(text) = description["info"]["description"].as_str() {
        let _ = write!(page, "\n{}\n", text.trim());
    }
    for (path, methods) in entries(&description["paths"]) {
        for (method, operation) in entries(methods) {
            if operation.is_object() {
                write_operation(&mut page, method, path, operation);
            }
        }
    }
    page.push_str("\n## Types\n");
    for (name, schema) in entries(&description["components"]["schemas"]) {
        write_schema(&mut page, name, schema);
    }
    page
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn write_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(page, "\n## {} {path}\n", method.to_uppercase());
    for key in ["summary", "description"] {
        if let Some(text) = operation[key].as_str() {
            let _ = write!(page, "\n{}\n", text.trim());
        }
    }
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        page.push_str("\n| parameter | in | type | |\n|---|---|---|---|\n");
    }
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap_or_default();
        let place = parameter["in"].as_str().unwrap_or_default();
        let (kind, text) = (type_of(&parameter["schema"]), cell(&parameter["description"]));
        let _ = writeln!(page, "| `{name}` | {place} | {kind} | {text} |");
    }
    for (media, content) in entries(&operation["requestBody"]["content"]) {
        let _ = write!(page, "\nBody: {} as `{media}`.\n", type_of(&content["schema"]));
    }
    page.push_str("\n| answer | |\n|---|---|\n");
    for (status, answer) in entries(&operation["responses"]) {
        // Every error has the one form, which the page says at its head.
        let answers = entries(&answer["content"]).filter(|(media, _)| !media.contains("problem"));
        let forms: Vec<String> = answers
            .map(|(media, content)| match type_of(&content["schema"]) {
                kind if media == "application/json" => kind,
                kind if kind == "anything" => format!("`{media}`"),
                kind => format!("{kind} as `{media}`"),
            })
            .collect();
        let said = cell(&answer["description"]);
        let _ = writeln!(page, "| {status} | {} |", format!("{said} {}", forms.join("; ")).trim());
    }
}

fn write_schema(page: &mut String, name: &str, schema: &Value) {
    let _ = write!(page, "\n### {name}\n");
    if let Some(text) = schema["description"].as_str() {
        let _ = write!(page, "\n{}\n", text.trim());
    }
    if !schema["properties"].is_object() {
        let _ = write!(page, "\n{}\n", type_of(schema));
        return;
    }
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    page.push_str("\n| key | type | |\n|---|---|---|\n");
    for (key, property) in entries(&schema["properties"]) {
        let optional =
            if required.iter().any(|name| name == key) { "" } else { ", may be left out" };
        let _ = writeln!(
            page,
            "| `{key}` | {}{optional} | {} |",
            type_of(property),
            cell(&property["description"])
        );
    }
}

/// Text in one cell of a table.
fn cell(text: &Value) -> String {
    text.as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// Says in a few words what a schema allows.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[key].as_array() {
            return choices.iter().map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{}`", plain(value)))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let kinds: Vec<String> = match &schema["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds.iter().map(plain).collect(),
        _ => return "anything".to_owned(),
    };
    let mut text = kinds.join(" or ");
    if schema["items"].is_object() {
        text = text.replace("array", &format!("list of {}", type_of(&schema["items"])));
    }
    for (key, word) in [
        ("format", ""),
        ("pattern", ""),
        ("minimum", "from "),
        ("maximum", "to "),
        ("maxLength", "at most "),
        ("default", "default "),
    ] {
        let value = &schema[key];
        if !value.is_null() {
            let _ = write!(text, ", {word}`{}`", plain(value).replace('|', "\\|"));
        }
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
