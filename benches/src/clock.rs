//! A server on one thread and one processor, whose processor time can be read.

use codecrucible_workload::telemetry::LOG_THREAD;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Handle;

/// A running server. It lives until the process ends.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Handle,
}

impl Server {
    /// Starts a server on a processor; `serve` gives its address and then goes on in tasks.
    pub fn start<F, Serving>(processor: usize, serve: F) -> anyhow::Result<Self>
    where
        F: FnOnce() -> Serving + Send + 'static,
        Serving: Future<Output = anyhow::Result<SocketAddr>>,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            pin_to(processor);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let address = serve().await?;
                sender.send((address, Handle::current()))?;
                std::future::pending::<anyhow::Result<()>>().await
            })
        });
        let (address, runtime) = receiver.recv()?;
        Ok(Self { address, runtime })
    }

    /// Processor time that the server has taken.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let (sender, receiver) = std::sync::mpsc::channel();
        // The task runs on the server's thread, whose clock this is.
        self.runtime.spawn(async move { sender.send(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)) });
        Ok(receiver.recv()??.into())
    }
}

/// How threads are called that work for requests beside the server's: they tell a collector of traces, and write the log. The system keeps 15 bytes
/// of a name.
const THREADS_BESIDE: [&str; 2] = ["OpenTelemetry", LOG_THREAD];

/// Processor time that threads of this process have taken that work for requests beside the server's. They do so when they will, not within a round.
pub fn time_beside() -> anyhow::Result<Duration> {
    let mut taken = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // A thread that has just ended is not missed.
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        let id = task.file_name().and_then(|id| id.to_str()).and_then(|id| id.parse::<i32>().ok());
        if let Some(id) = id.filter(|_| THREADS_BESIDE.iter().any(|beside| name.starts_with(beside))) {
            // The clock of another thread's processor time, as Linux numbers them (clock_getcpuclockid(3)).
            let clock = ClockId::from_raw((!id << 3) | 6);
            taken += clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
        }
    }
    Ok(taken)
}

/// Keeps the current thread on one processor, where the machine has it.
pub fn pin_to(processor: usize) {
    let mut set = CpuSet::new();
    if set.set(processor).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}
