//! What the suites stand on: a real cluster on one machine, images without a builder, and model files.
#![allow(
    clippy::print_stdout,
    reason = "a library for command-line tools and tests, which tell people what they do"
)]

pub mod cluster;
pub mod image;
pub mod model;
pub mod paths;
