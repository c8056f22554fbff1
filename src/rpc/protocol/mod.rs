//! The values that methods take and give, as JSON spells them.

pub mod env_policy;
