use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{NoSubscriber, set_default};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// What `work` gives, and what is logged on this thread meanwhile, at every level: names and fields of spans and events. Under `#[tokio::test]`
/// all tasks are on it; what other threads log is not seen.
pub(crate) async fn logged<T>(work: impl Future<Output = T> + Send) -> (T, String) {
    let log = Log::default();
    // With a single one, tracing asks the subscriber of whichever thread comes first, and other tests have none.
    let _second = Dispatch::new(NoSubscriber::default());
    let guard = set_default(log.clone());
    let given = work.await;
    drop(guard);
    (given, log.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Lines of what is logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn line(&self, name: &str, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(name.to_owned());
        record(&mut fields);
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&fields.0);
        text.push('\n');
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.line(span.metadata().name(), |fields| span.record(fields));
        Id::from_u64(1) // nobody asks which one
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.line("", |fields| values.record(fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata().name(), |fields| event.record(fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// One line: a name, and each field as ` name=value`.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Without the escapes of `Debug`: what is looked for may have them.
        self.0.push_str(&format!(" {field}={value}"));
    }
}
