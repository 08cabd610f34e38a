use metrics_util::debugging::{DebuggingRecorder, Snapshotter};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use tracing_subscriber::fmt::format::FmtSpan;

/// Everything that was logged and counted by this process.
pub struct Observed {
    log: Log,
    metrics: Snapshotter,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Observed {
    /// Observes the process, from the first call on.
    pub fn all() -> &'static Self {
        static OBSERVED: OnceLock<Observed> = OnceLock::new();
        OBSERVED.get_or_init(|| {
            let (log, recorder) = (Log::default(), DebuggingRecorder::new());
            let (writer, metrics) = (log.clone(), recorder.snapshotter());
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_span_events(FmtSpan::FULL)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            recorder.install().expect("the only one");
            Self { log, metrics }
        })
    }

    pub fn log(&self) -> Vec<u8> {
        self.log.0.lock().expect("not poisoned").clone()
    }

    /// All metrics, with their labels, descriptions and values.
    pub fn metrics(&self) -> String {
        self.metrics.snapshot().into_vec().into_iter().map(|metric| format!("{metric:?}\n")).collect()
    }
}
