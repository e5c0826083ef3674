//! How many threads inference takes.

/// Sets the number of threads for the whole process, before the inference library reads it: one less than
/// the control group's limit allows, because the requests of everybody else need a processor too.
///
/// Must be called while the process has only one thread.
#[allow(
    unsafe_code,
    reason = "the inference library takes its settings from the environment only; the caller is single-threaded"
)]
pub fn prepare_process() {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = available.saturating_sub(1).max(1).to_string();
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            // SAFETY: no other thread exists that could read the environment meanwhile.
            unsafe { std::env::set_var(name, &threads) };
        }
    }
    // Workers that spin while idle would eat the limit that the gateway lives on.
    // SAFETY: as above.
    unsafe { std::env::set_var("CANDLE_BARRIER_POOL_SPIN_LIMIT", "0") };
}
