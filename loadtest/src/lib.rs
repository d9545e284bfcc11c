//! Shows, loads, measures and tests both tiers.
//!
//! [`generate`] makes [`item`]s by a [`plan`] and keeps the [`truth`]; [`oracle`] says which of them
//! are kept. [`send`] sends them, [`ledger`] writes down what arrives. [`testbed`] runs both
//! tiers as processes, [`audit`] adds up what they did. [`faulty`] is a backend that misbehaves,
//! and [`scenario`] accounts for every span while it does. [`mod@bench`] measures gateways, ours and
//! others', from outside. What it all shows is written by
//! [`progress`] and [`report`].

pub mod audit;
pub mod bench;
pub mod cli;
pub mod command;
pub mod demo;
pub mod faulty;
pub mod flood;
pub mod generate;
pub mod item;
pub mod ledger;
pub mod measure;
pub mod oracle;
pub mod plan;
pub mod progress;
pub mod report;
pub mod scenario;
pub mod send;
pub mod sink;
pub mod soak;
pub mod tape;
pub mod testbed;
pub mod truth;
