//! Offering this machine through a control plane.

mod auth;
mod backoff;
mod calendar;
mod error;
mod exchange;
mod registration;
mod relay;
mod settings;
mod target;

pub use error::{CloudError, Service};
pub use settings::{Settings, Transport};
