//! Cuts a connection to a PostgreSQL server at one of its messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The message never arrives.
    Before,
    /// It arrives and is answered, and the answer is lost.
    After,
}

/// Stands between client and server, and cuts one connection at one message.
#[derive(Clone)]
pub struct Proxy {
    /// What is in the messages that count.
    with: &'static str,
    /// Those until the cut; it happens at 0, once.
    left: Arc<AtomicI64>,
    cut: Cut,
    upstream: SocketAddr,
}

impl Proxy {
    /// Listens on a free port; gives the URL that leads through it to the server of `url`.
    pub async fn start(url: &str, with: &'static str, at: i64, cut: Cut) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("is bound").port();
        let upstream = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
        let left = Arc::new(AtomicI64::new(at));
        let proxy = Self { with, left, cut, upstream: upstream.parse().expect("an address") };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = serving.clone();
                tokio::spawn(async move { proxy.serve(client).await });
            }
        });
        (proxy, url.replace(upstream, &format!("127.0.0.1:{port}")))
    }

    pub fn has_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    async fn serve(self, mut client: TcpStream) -> Option<()> {
        let mut server = TcpStream::connect(self.upstream).await.ok()?;
        let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                sent = client.read(&mut up) => {
                    let sent = sent.ok().filter(|n| *n > 0)?;
                    let counts = String::from_utf8_lossy(&up[..sent]).contains(self.with);
                    let cut = counts && self.left.fetch_sub(1, Ordering::SeqCst) == 0;
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
