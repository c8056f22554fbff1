//! From the spawn of a server to its answer to `initialize`; on a websocket with the address line,
//! the connection and the upgrade in between. Warm: the binary is in the page cache.

use std::time::Instant;

use super::Step;
use crate::failure::{During, Failure};
use crate::peer;
use crate::row::{Row, Unit};
use crate::sample::repeat;

pub const ROWS: &[Row] = &[
    Row::new(
        Unit::Seconds,
        "ws.p50",
        "ws",
        &[("p50", "spawn + wait, static")],
    ),
    Row::new(
        Unit::Seconds,
        "stdio.p50",
        "stdio",
        &[("p50", "spawn + wait, static")],
    ),
];

const LEAST: usize = 5;

pub fn server(step: &Step) -> Result<(), Failure> {
    let mut times = repeat(step.budget(250), LEAST, 1, || {
        let begun = Instant::now();
        let (server, client) = step.open(&[])?;
        let time = begun.elapsed();
        // The connection goes first, so that a server never sees a client that outlives it.
        drop(client);
        drop(server);
        Ok::<_, Failure>(time)
    })?;
    step.emit("p50", times.quantile(0.5));
    Ok(())
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let mut command = peer::nothing()?;
    let mut times = repeat(step.budget(250), LEAST, 1, || {
        let begun = Instant::now();
        command
            .status()
            .during("running a program that does nothing")?;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("p50", times.quantile(0.5));
    Ok(())
}
