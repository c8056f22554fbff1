//! Offering this machine through a control plane.
pub mod relay;
