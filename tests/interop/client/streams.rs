//! What comes in many pieces, and over connections that break.

use std::time::Duration;

use exec_server::rpc::client::{ClientError, HttpRequest, Process, ProcessEvent};

use super::scene::{Said, Scene, finish};
use crate::http_server::{Reply, serve};
use support::PATIENCE;

const MUCH: usize = 5_000_000;
/// Lines that can be told from one another.
const SCRIPT: &str = "seq 1 1000000 | head -c 5000000";

pub fn an_answer_comes_with_its_body(scene: &Scene) {
    let body: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let sent = body.clone();
    let address = serve(move |request| {
        let is_right =
            request.method == "POST" && request.target == "/x?y" && request.body == b"in";
        let status = if is_right { "201 Made" } else { "400 Bad" };
        Some(Reply::whole(
            status,
            vec!["x-mark: one".to_owned()],
            sent.clone(),
        ))
    });
    let request = HttpRequest {
        method: "POST".to_owned(),
        url: format!("http://{address}/x?y"),
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: b"in".to_vec(),
        timeout: Some(PATIENCE),
        follows_redirects: false,
    };
    let response = scene.client.http(&request).expect("an answer");
    assert_eq!(response.status, 201);
    assert!(response.body == body, "{} bytes", response.body.len());
    let mark = ("x-mark".to_owned(), "one".to_owned());
    assert!(response.headers.contains(&mark), "{:?}", response.headers);
}

pub fn much_output_is_whole_or_has_a_gap(scene: &Scene) {
    is_whole_or_has_a_gap(scene, &scene.start(&scene.shell(SCRIPT)));
}

pub fn a_slow_consumer_gets_all_or_a_gap(scene: &Scene) {
    let process = scene.start(&scene.shell(SCRIPT));
    // Its slowness is what is tested: long enough for a server that does not wait for us to be done.
    std::thread::sleep(Duration::from_secs(1));
    is_whole_or_has_a_gap(scene, &process);
}

fn is_whole_or_has_a_gap(scene: &Scene, process: &Process) {
    let Said {
        stdout, lost, code, ..
    } = finish(process);
    assert_eq!(code, Some(0));
    if lost > 0 {
        assert!(!scene.is_ours(), "ours loses nothing");
        assert!(stdout.len() < MUCH, "a gap, and all is there");
        return;
    }
    let expected: String = (1..=1_000_000)
        .map(|number| format!("{number}\n"))
        .collect();
    assert_eq!(stdout.len(), MUCH);
    assert!(stdout == expected.as_bytes()[..MUCH]);
}

pub fn a_cut_connection_is_taken_up_or_told(scene: &Scene) {
    let process =
        scene.start(&scene.shell("for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.1; done"));
    let Some(proxy) = &scene.proxy else {
        // There is nothing to be cut; all comes.
        assert_eq!(finish(&process).stdout, b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        return;
    };
    let mut said = Vec::new();
    let ended = loop {
        match process.next_event(PATIENCE) {
            Ok(Some(ProcessEvent::Output { data, .. })) => {
                let is_first = said.is_empty();
                said.extend(data);
                if is_first {
                    proxy.cut();
                }
            }
            Ok(Some(ProcessEvent::Exited(exit))) => assert_eq!(exit.code, 0),
            Ok(Some(ProcessEvent::Closed)) => break Ok(()),
            Ok(other) => panic!("{other:?} after {said:?}"),
            Err(error) => break Err(error),
        }
    };
    match ended {
        Ok(()) => assert_eq!(
            String::from_utf8_lossy(&said),
            "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
        ),
        Err(ClientError::Disconnected(why)) if scene.is_old() => assert!(!why.is_empty()),
        Err(other) => panic!("{other:?} after {said:?}"),
    }
    assert!(proxy.tries() > 1, "it was never cut");
    // Whatever became of the process, the client goes on.
    assert_eq!(
        finish(&scene.start(&scene.shell("echo on"))).stdout,
        b"on\n"
    );
}
