//! The parts of the benchmarks: a backend, a floor, the product on one thread or as a program, other projects, load, and clocks of processor time.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

mod backend;
mod clock;
mod floor;
mod load;
mod median;
mod peer;
mod product;
mod program;

pub use backend::Backend;
pub use clock::{Server, pin_to, time_beside};
pub use floor::floor;
pub use load::{Ask, Load, Target};
pub use median::median;
pub use peer::{PeerServer, peer};
pub use product::{Extent, policy, policy_of, start_product};
pub use program::{Program, metric};
