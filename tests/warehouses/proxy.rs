//! Stands between a process and a PostgreSQL server: each message to the server is one of the process's I/O points.

use landfall::testkit::Faults;
use landfall::{Error, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The connection string of a proxy before the server of `url`.
pub async fn before(url: &str, faults: &Faults) -> String {
    let upstream = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
    let port = start(upstream.parse().expect("an address"), faults).await;
    // Who stands still with a transaction open is not waited for.
    let url = url.replace(upstream, &format!("127.0.0.1:{port}"));
    format!("{url}&options=-c%20idle_in_transaction_session_timeout%3D200ms")
}

/// Listens on a free port, and gives it.
async fn start(upstream: SocketAddr, faults: &Faults) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("is bound").port();
    let faults = faults.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, upstream, faults.clone()));
        }
    });
    port
}

/// Says goodbye; nothing follows from it.
const TERMINATE: u8 = b'X';

async fn serve(mut client: TcpStream, upstream: SocketAddr, faults: Faults) -> Option<()> {
    // Nothing that a dead process says comes through: the server need not listen.
    if faults.is_dead() {
        return None;
    }
    let mut server = TcpStream::connect(upstream).await.ok()?;
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            sent = client.read(&mut up) => {
                let sent = up.get(..sent.ok()?)?;
                if matches!(sent.first(), None | Some(&TERMINATE)) {
                    return None;
                }
                let answered = faults.point("message", "postgres", ask(&mut server, sent, &client, &mut down)).await.ok()?;
                client.write_all(down.get(..answered)?).await.ok()?;
            }
            answered = server.read(&mut down) => {
                let answered = answered.ok().filter(|n| *n > 0)?;
                client.write_all(down.get(..answered)?).await.ok()?;
            }
        }
    }
}

/// Sends a message and takes the answer. A part of a copy has none: more of it comes.
async fn ask(server: &mut TcpStream, message: &[u8], client: &TcpStream, answer: &mut [u8]) -> Result<usize> {
    let failed = |e: std::io::Error| Error::unavailable("forward message", "the connection broke").with_source(e);
    server.write_all(message).await.map_err(failed)?;
    tokio::select! {
        answered = server.read(answer) => answered.map_err(failed),
        _more = client.readable() => Ok(0),
    }
}
