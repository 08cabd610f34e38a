use super::Faults;
use crate::error::{Error, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Stands between a process and a server that answers over TCP: each message to the server, as much as is read at once, is an I/O point
/// of a [`Faults`]. For what has a client of its own, such as a database: it cuts within a call, where
/// [`FaultSink`](super::FaultSink) sees one operation.
///
/// A message counts as done when the server has answered, or when more is sent before it does. The connections of a process that
/// has died are closed, and the server hears nothing more of it. Dropped, it closes all of them.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port of this machine. What `is_goodbye` of a message ends the connection and is no point: nothing
    /// follows from it.
    ///
    /// # Errors
    /// `Unavailable` if there is no free port.
    pub async fn start(
        upstream: SocketAddr,
        faults: &Faults,
        is_goodbye: impl Fn(&[u8]) -> bool + Clone + Send + Sync + 'static,
    ) -> Result<Self> {
        let failed = |e: std::io::Error| Error::unavailable("start proxy", "there is no free port").with_source(e);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let faults = faults.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(client, upstream, faults.clone(), is_goodbye.clone()));
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    faults: Faults,
    is_goodbye: impl Fn(&[u8]) -> bool + Send,
) -> Option<()> {
    // Nothing that a dead process says comes through: the server need not listen.
    if faults.is_dead() {
        return None;
    }
    let mut server = TcpStream::connect(upstream).await.ok()?;
    // Small messages of both sides would wait for acknowledgements.
    client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).ok()?;
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            sent = client.read(&mut up) => {
                let sent = up.get(..sent.ok()?)?;
                if sent.is_empty() || is_goodbye(sent) {
                    return None;
                }
                let answer = ask(&mut server, sent, &client, &mut down);
                let answered = faults.point("message", upstream, answer).await.ok()?;
                client.write_all(down.get(..answered)?).await.ok()?;
            }
            answered = server.read(&mut down) => {
                let answered = answered.ok().filter(|n| *n > 0)?;
                client.write_all(down.get(..answered)?).await.ok()?;
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
