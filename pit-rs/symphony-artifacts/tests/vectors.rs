//! The golden vectors of the contract: calls in their order at a new store, to the byte.
//!
//! `SYMPHONY_WRITE_VECTORS=1` writes what is answered now into the file, for a reader to judge.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::fs;
use std::path::Path;

use common::caller::{from_json, hex, to_json, Caller};
use serde_json::{json, Value as Json};

/// What a call is answered, as a value and to the byte. Paths differ on every machine: of methods with folders there are errors
/// alone, the rest of them is tested elsewhere.
fn answered(caller: &mut Caller, vector: &Json) -> Json {
    let request = rmp_serde::to_vec_named(&from_json(&vector["request"])).unwrap();
    let mut answered = json!({
        "name": vector["name"],
        "method": vector["method"],
        "request": vector["request"],
        "request_hex": hex(&request),
    });
    let (key, bytes) = match caller.raw(vector["method"].as_str().unwrap(), &request) {
        Ok(reply) => ("reply", reply),
        Err(error) => ("error", rmp_serde::to_vec_named(&error).unwrap()),
    };
    answered[key] = to_json(&rmp_serde::from_slice(&bytes).unwrap());
    answered[format!("{key}_hex")] = json!(hex(&bytes));
    answered
}

#[test]
fn every_call_is_answered_as_the_vectors_say() {
    let file = "../../bus/vectors/contracts/pit.artifacts-1.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let vectors: Vec<Json> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut caller = Caller::new();
    let found: Vec<Json> = vectors.iter().map(|vector| answered(&mut caller, vector)).collect();
    if std::env::var_os("SYMPHONY_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&found).unwrap();
        fs::write(&path, text + "\n").unwrap();
        return;
    }
    for (vector, found) in vectors.iter().zip(&found) {
        assert_eq!(vector, found, "{}", vector["name"]);
    }
    let methods: std::collections::BTreeSet<&str> =
        vectors.iter().map(|vector| vector["method"].as_str().unwrap()).collect();
    for method in [
        "put",
        "put_many",
        "begin",
        "part",
        "commit",
        "get",
        "stat",
        "list",
        "listing",
        "versions",
        "diff",
        "lineage",
        "search",
        "tag",
        "tags",
        "score",
        "use",
        "audit",
        "verify",
        "configure",
        "mark",
        "unmark",
        "sweep",
        "pack",
        "rotate",
        "collect",
        "stage",
        "backup",
    ] {
        assert!(methods.contains(method), "no vector calls {method}");
    }
}
