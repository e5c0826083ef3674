//! Small pages only. The allocator asks for huge ones, and then what a stream leaves untouched of its buffers counts as its memory all the same: half
//! as much again as it uses, for a few percent of processor time.

use nix::sys::prctl::set_thp_disable;

/// Does without huge pages from now on, if the system lets it choose.
pub fn do_without() {
    if let Err(error) = set_thp_disable(true) {
        tracing::warn!(%error, "memory comes in huge pages");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::prctl::get_thp_disable;

    #[test]
    fn from_now_on_the_system_gives_none() {
        // For all tests of the process, which does them no harm.
        do_without();
        assert_eq!(get_thp_disable(), Ok(true));
    }
}
