//! `docs/openrpc.json`: all methods for programs that make clients, made of their types.

use std::fs;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{NOTIFICATIONS, discovery, fs as files, http, process, session};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openrpc.json");

type Family = (
    &'static [(&'static str, &'static [&'static str])],
    fn(&mut SchemaGenerator) -> Vec<[Schema; 2]>,
);

const FAMILIES: &[Family] = &[
    (session::ALL, session::schemas),
    (process::ALL, process::schemas),
    (files::ALL, files::schemas),
    (http::ALL, http::schemas),
    (discovery::ALL, discovery::schemas),
];

fn document() -> Value {
    let settings = SchemaSettings::draft07().with(|it| {
        it.definitions_path = "/components/schemas".into();
        it.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut methods = Vec::new();
    for (all, schemas) in FAMILIES {
        let schemas = schemas(&mut generator);
        let each = all.iter().zip(schemas);
        methods.extend(each.map(|(&(name, extensions), schemas)| (name, extensions, schemas)));
    }
    let mut definitions = generator.take_definitions(true);
    let objects: Vec<String> = methods
        .iter()
        .filter_map(|(_, _, [params, _])| definition_of(params))
        .collect();
    let methods: Vec<Value> = methods
        .into_iter()
        .map(|(name, extensions, [params, reply])| {
            let mut method = json!({
                "name": name,
                "paramStructure": "by-name",
                "params": members(&params, &definitions),
            });
            if !extensions.is_empty() {
                method["x-extensions"] = json!(extensions);
            }
            if NOTIFICATIONS.contains(&name) {
                method["x-notification-of"] = json!("server");
            } else if name == "initialized" {
                method["x-notification-of"] = json!("client");
            } else {
                method["result"] = json!({"name": "result", "schema": reply});
            }
            method
        })
        .collect();
    // Their members are the parameters.
    definitions.retain(|name, _| !objects.contains(name));
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "exec-server",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "PROTOCOL.md says what each method does, its limits and its errors.",
        },
        "methods": methods,
        "components": {"schemas": definitions},
    })
}

/// The name of the definition that a schema refers to.
fn definition_of(schema: &Schema) -> Option<String> {
    let path = schema.get("$ref")?.as_str()?;
    path.rsplit('/').next().map(str::to_owned)
}

/// The members of an object, each as a parameter.
fn members(params: &Schema, definitions: &Map<String, Value>) -> Vec<Value> {
    let object = match definition_of(params) {
        Some(name) => definitions[&name].clone(),
        None => params.clone().to_value(),
    };
    let required = object["required"].as_array().cloned().unwrap_or_default();
    let properties = object["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let member = |(name, schema): (String, Value)| json!({"required": required.contains(&json!(name)), "name": name, "schema": schema});
    properties.into_iter().map(member).collect()
}

#[test]
fn the_description_for_programs_is_that_of_the_types() {
    let mut current = serde_json::to_string_pretty(&document()).unwrap();
    current.push('\n');
    if std::env::var_os("WRITE_OPENRPC").is_some() {
        fs::write(FILE, &current).unwrap();
    }
    let written = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        written == current,
        "docs/openrpc.json is not current: run this test with WRITE_OPENRPC=1"
    );
}
