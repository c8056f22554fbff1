//! A model that says what a scenario tells it: one answer to each request, in the Responses API's event stream.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http_server::{Reply, Request, serve};

/// The model's side of a talk.
pub struct Model {
    address: SocketAddr,
    requests: Receiver<(Value, Sender<Value>)>,
    /// Where the answer to the last request goes.
    pending: Option<Sender<Value>>,
    count: usize,
}

impl Model {
    /// A model that nobody has asked yet.
    pub fn new() -> Self {
        let (asked, requests) = channel();
        let asked = Mutex::new(asked);
        let address = serve(move |request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if !is_turn(&request) {
                return Some(Reply::whole("404 Not Found", Vec::new(), Vec::new()));
            }
            let (answer, answered) = channel();
            asked.lock().ok()?.send((body, answer)).ok()?;
            // Ends without an answer when the scenario does.
            let item = answered.recv().ok()?;
            Some(Reply::whole(
                "200 OK",
                vec!["content-type: text/event-stream".into()],
                events(&item),
            ))
        });
        Self {
            address,
            requests,
            pending: None,
            count: 0,
        }
    }

    /// What goes into the client's config.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Waits for the client's next request.
    pub fn request(&mut self, limit: Duration) -> Option<Value> {
        let (body, answer) = self.requests.recv_timeout(limit).ok()?;
        self.pending = Some(answer);
        Some(body)
    }

    /// Calls a function; gives the id of the call.
    pub fn call(&mut self, name: &str, arguments: &Value) -> String {
        let id = self.next_id();
        self.answer(json!({
            "type": "function_call", "name": name, "arguments": arguments.to_string(), "call_id": id,
        }));
        id
    }

    /// Calls a function without parameters of a namespace.
    pub fn call_in(&mut self, namespace: &str, name: &str) {
        let id = self.next_id();
        self.answer(json!({
            "type": "function_call", "namespace": namespace, "name": name, "arguments": "{}", "call_id": id,
        }));
    }

    /// Calls a tool that takes free text; gives the id of the call.
    pub fn call_custom(&mut self, name: &str, input: &str) -> String {
        let id = self.next_id();
        self.answer(
            json!({"type": "custom_tool_call", "name": name, "input": input, "call_id": id}),
        );
        id
    }

    /// Says a last word.
    pub fn say(&mut self, text: &str) {
        let id = self.next_id();
        let content = json!([{"type": "output_text", "text": text}]);
        self.answer(json!({"type": "message", "role": "assistant", "id": id, "content": content}));
    }

    fn next_id(&mut self) -> String {
        self.count += 1;
        format!("scripted-{}", self.count)
    }

    fn answer(&mut self, item: Value) {
        let pending = self.pending.take().expect("the client has asked");
        // A client that is gone is seen by whoever waits for its next request.
        let _ = pending.send(item);
    }
}

fn is_turn(request: &Request) -> bool {
    request.method == "POST" && request.target.ends_with("/responses")
}

fn events(item: &Value) -> Vec<u8> {
    let id = item
        .get("call_id")
        .or(item.get("id"))
        .cloned()
        .unwrap_or_default();
    let usage = json!({
        "input_tokens": 1, "input_tokens_details": null, "output_tokens": 1, "output_tokens_details": null,
        "total_tokens": 2,
    });
    let events = [
        json!({"type": "response.created", "response": {"id": id}}),
        json!({"type": "response.output_item.done", "item": item}),
        json!({"type": "response.completed", "response": {"id": id, "usage": usage}}),
    ];
    let event = |event: &Value| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap_or_default()
        )
    };
    events.iter().map(event).collect::<String>().into_bytes()
}
