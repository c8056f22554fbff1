//! What the control plane does, and what comes of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation;
use support::PATIENCE;
use support::plane::{Answer, Plane};

/// One way for a registration to go.
pub struct Scenario {
    pub name: &'static str,
    /// What the registrations are answered; the others good.
    pub answers: fn() -> Vec<Answer>,
    /// What is done with the executor, and heard of it.
    pub meet: fn(&Plane) -> Value,
    /// Whether the program ends by itself, or may.
    pub ends: bool,
    /// Fields that differ on purpose, and why.
    pub intended: &'static [(&'static str, &'static str)],
}

const UPGRADE: (&str, &str) = (
    "upgrades",
    "ours names the connection in X-Request-ID, as 0.169 does",
);

pub static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a client works through the rendezvous",
        answers: Vec::new,
        meet: conversation::hold,
        ends: false,
        intended: &[UPGRADE],
    },
    Scenario {
        name: "a cut rendezvous is registered again",
        answers: Vec::new,
        meet: |plane| {
            let there = || plane.executors() == 1;
            let first = plane.comes_true(PATIENCE, there);
            plane.cut();
            let again = plane.comes_true(PATIENCE, || plane.upgrades().len() == 2 && there());
            json!([first, again])
        },
        ends: false,
        intended: &[UPGRADE],
    },
    refusal("401", || {
        vec![Answer::status(
            401,
            r#"{"error":{"message":"expired token"}}"#,
        )]
    }),
    refusal("403", || {
        vec![Answer::status(403, r#"{"error":{"message":"not yours"}}"#)]
    }),
    refusal("409 with a code", || {
        let body = r#"{"error":{"code":"no_online_executor","message":"no executor is online"}}"#;
        vec![Answer::status(409, body)]
    }),
    refusal("500 without a body", || vec![Answer::status(500, "")]),
    refusal("502 with text", || vec![Answer::status(502, "bad gateway")]),
    refusal("429", || {
        vec![Answer::status(
            429,
            r#"{"error":{"code":"slow","message":"slow down"}}"#,
        )]
    }),
    Scenario {
        name: "an answer that is no JSON",
        answers: || vec![Answer::status(200, "{\"id\":")],
        meet: |_| Value::Null,
        ends: true,
        intended: &[(
            "words",
            "behind the reference's words, the cause is on the same line",
        )],
    },
    Scenario {
        name: "another executor's id",
        answers: || vec![Answer::With(json!({"executor_id": "OTHER"}))],
        meet: |plane| json!(plane.comes_true(Duration::from_secs(2), || plane.executors() == 1)),
        ends: false,
        intended: &[
            ("heard", "the reference serves as somebody else; ours ends"),
            ("words", "the same"),
            ("upgrades", "the same"),
        ],
    },
    Scenario {
        name: "a later 503",
        answers: || vec![Answer::Good, Answer::status(503, "")],
        meet: |plane| {
            let first = plane.comes_true(PATIENCE, || plane.executors() == 1);
            plane.cut();
            let again = plane.comes_true(Duration::from_secs(8), || plane.upgrades().len() == 2);
            json!([first, again])
        },
        ends: false,
        intended: &[
            (
                "heard",
                "the reference gives up when the registry is down for a moment; ours waits",
            ),
            ("words", "the same"),
            ("registrations", "the same"),
            ("upgrades", "the same"),
        ],
    },
];

/// A first registration that is refused, with which both end alike.
const fn refusal(name: &'static str, answers: fn() -> Vec<Answer>) -> Scenario {
    Scenario {
        name,
        answers,
        meet: |_| Value::Null,
        ends: true,
        intended: &[],
    }
}
