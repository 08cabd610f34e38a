//! The connection to a server is cut at every message in turn, before it arrives or after it was answered: however often, each row is
//! there once.

use crate::pipeline::pages;
use crate::support::{Kind, World, every};
use landfall::ErrorKind;
use landfall::checkpoint::MemoryCheckpoints;
use landfall::columnar::{Columns, Decode};
use landfall::connectors::adbc::Adbc;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{Disposition, Quarantine, Replace};
use landfall::store::Store;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The message never arrives.
    Before,
    /// It arrives and is answered, and the answer is lost.
    After,
}

/// Stands between client and server, and cuts one connection at one message.
#[derive(Clone)]
struct Proxy {
    /// Messages until the cut; it happens at 0, once.
    left: Arc<AtomicI64>,
    cut: Cut,
    upstream: SocketAddr,
}

impl Proxy {
    /// Listens on a free port, and gives it.
    async fn start(upstream: SocketAddr, at: i64, cut: Cut) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("is bound").port();
        let proxy = Self { left: Arc::new(AtomicI64::new(at)), cut, upstream };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = serving.clone();
                tokio::spawn(async move { proxy.serve(client).await });
            }
        });
        (proxy, port)
    }

    fn has_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    async fn serve(self, mut client: TcpStream) -> Option<()> {
        let mut server = TcpStream::connect(self.upstream).await.ok()?;
        let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                sent = client.read(&mut up) => {
                    let sent = sent.ok().filter(|n| *n > 0)?;
                    let cut = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
                    if cut && self.cut == Cut::Before {
                        return None;
                    }
                    server.write_all(&up[..sent]).await.ok()?;
                    if cut {
                        // It is done when it is answered; a part of a copy is not, and more of it comes.
                        tokio::select! {
                            _answered = server.read(&mut down) => {}
                            _more = client.readable() => {}
                        }
                        return None;
                    }
                }
                answered = server.read(&mut down) => {
                    let answered = answered.ok().filter(|n| *n > 0)?;
                    client.write_all(&down[..answered]).await.ok()?;
                }
            }
        }
    }
}

/// Cuts at each message, until a run needs fewer: at some of them, because all of them take minutes (see [`every`]).
async fn at_every_message(name: &str, disposition: impl Into<Disposition>) {
    let disposition = disposition.into();
    let (mut cuts, step) = (0, every(17));
    for cut in [Cut::Before, Cut::After] {
        for at in (if cut == Cut::Before { 5 } else { 11 }..).step_by(step) {
            let Some(world) = World::new(Kind::Postgres) else { return };
            let url = std::env::var("LANDFALL_TEST_POSTGRES").expect("is there");
            let upstream = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
            let (proxy, port) = Proxy::start(upstream.parse().expect("an address"), at, cut).await;
            let url = url.replace(upstream, &format!("127.0.0.1:{port}"));
            let driver = std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there");
            let (store, checkpoints) = (Store::memory(), MemoryCheckpoints::default());
            let mut complete = false;
            for _ in 0..4 {
                let database = Adbc::driver(&driver).option("uri", &url);
                let built = Pipeline::named("orders")
                    .source(pages(0..6, "a"))
                    .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(64))
                    .stage(Decode::pages().schema(Columns::new().int64("id").utf8("name")))
                    .sink(world.table_in(&database, disposition.clone()))
                    .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
                    .checkpoints(checkpoints.clone())
                    .settings(Settings::default().epoch_records(3))
                    .build()
                    .expect("complete");
                match built.run().await {
                    Ok(report) => {
                        assert!(report.is_complete(), "{name}, {cut:?} at {at}: {report}");
                        complete = true;
                        break;
                    }
                    Err(failure) => assert!(
                        matches!(failure.error().kind(), ErrorKind::Unavailable | ErrorKind::Ambiguous),
                        "{name}, {cut:?} at {at}: {failure}"
                    ),
                }
            }
            assert!(complete, "{name}, {cut:?} at {at}: it does not recover");
            let rows = world.ask("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {orders}").await;
            assert_eq!(rows, ["6|6|0|5"], "{name}, {cut:?} at {at}");
            if !proxy.has_cut() {
                break;
            }
            cuts += 1;
        }
    }
    println!("proof suite=single of=\"adbc postgres {name}, messages\" every={step} schedules={cuts} lost=0 doubled=0");
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_rows_are_there_once_however_the_connection_is_cut() {
    at_every_message("append", Disposition::Append).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_rows_are_there_once_however_the_connection_is_cut() {
    at_every_message("replace", Replace::table()).await;
}
