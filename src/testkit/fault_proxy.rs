use super::{Effect, Faults};
use crate::error::{Error, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Stands between a process and a server that answers over TCP: each message to the server, as much as is read at once, is an I/O point
/// of a [`Faults`]. For what has a client of its own, such as a database: it cuts within a call, where
/// [`FaultSink`](super::FaultSink) sees one operation.
///
/// A message counts as done when the server has answered, or when more is sent before it does. The connections of a process that
/// has died are closed, and the server hears nothing more of it. Dropped, it closes all of them.
///
/// It runs on a thread of its own: a driver that blocks the threads of its runtime is answered all the same.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    /// It ends when this is dropped.
    _lives: oneshot::Sender<()>,
}

impl FaultProxy {
    /// Listens on a free port of this machine. `effect` says what a message changes, of which it is given the bytes, and those that the server has
    /// sent last: [`Effect::None`] of one of which nothing is left when its connection ends, such as a query, or a statement within a transaction;
    /// any other for what it changes as a whole or not at all. A message that has none, `None`, says goodbye: it ends the connection and is no point.
    ///
    /// # Errors
    /// `Unavailable` if there is no free port, or no thread to be had.
    pub fn start(
        upstream: SocketAddr,
        faults: &Faults,
        effect: impl Fn(&[u8], &[u8]) -> Option<Effect> + Clone + Send + Sync + 'static,
    ) -> Result<Self> {
        let failed = |e: std::io::Error| Error::unavailable("start proxy", "no free port, or no thread").with_source(e);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (lives, dropped) = oneshot::channel();
        let faults = faults.clone();
        let accepting = async move {
            let listener = TcpListener::from_std(listener)?;
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await?;
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(client, upstream, faults.clone(), effect.clone()));
            }
        };
        // Where it cannot serve, nobody listens, and connections are refused.
        let serving = move || -> std::io::Result<()> {
            tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
                tokio::select! {
                    failed = accepting => failed,
                    _ = dropped => Ok(()),
                }
            })
        };
        std::thread::Builder::new().name("fault proxy".to_owned()).spawn(serving).map_err(failed)?;
        Ok(Self { address, _lives: lives })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    faults: Faults,
    effect: impl Fn(&[u8], &[u8]) -> Option<Effect> + Send,
) -> Option<()> {
    // Nothing that a dead process says comes through: the server need not listen.
    if faults.is_dead() {
        return None;
    }
    let mut server = TcpStream::connect(upstream).await.ok()?;
    // Small messages of both sides would wait for acknowledgements.
    client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).ok()?;
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    // What the server has sent last.
    let mut heard = 0;
    loop {
        tokio::select! {
            sent = client.read(&mut up) => {
                let sent = up.get(..sent.ok().filter(|n| *n > 0)?)?;
                let effect = effect(sent, down.get(..heard)?)?;
                let answer = ask(&mut server, sent, &client, &mut down);
                let answered = match effect {
                    Effect::None => faults.read_point("message", upstream, answer).await.ok()?,
                    _ => faults.point("message", upstream, answer).await.ok()?,
                };
                // Of a part there is no answer.
                if answered > 0 {
                    heard = answered;
                    client.write_all(down.get(..heard)?).await.ok()?;
                }
            }
            answered = server.read(&mut down) => {
                heard = answered.ok().filter(|n| *n > 0)?;
                client.write_all(down.get(..heard)?).await.ok()?;
            }
        }
    }
}

/// Sends a message and takes the answer. A part of one has none: more of it comes.
async fn ask(server: &mut TcpStream, message: &[u8], client: &TcpStream, answer: &mut [u8]) -> Result<usize> {
    let failed = |e: std::io::Error| Error::unavailable("forward message", "the connection broke").with_source(e);
    server.write_all(message).await.map_err(failed)?;
    tokio::select! {
        answered = server.read(answer) => answered.map_err(failed),
        _more = client.readable() => Ok(0),
    }
}
