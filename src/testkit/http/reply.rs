use crate::env::Env;
use std::time::Duration;

/// What to answer, down to its bytes and what follows them.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    framing: Framing,
    before: Vec<u8>,
    cut: Option<Cut>,
    pub(super) then: Then,
    pub(super) slowly: bool,
    pub(super) delay: Option<(Env, Duration)>,
}

/// What tells where the body ends.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    /// A length that is not that of the body.
    Claims(usize),
    /// Chunks of a size, with or without the last, empty one.
    Chunks {
        size: usize,
        finished: bool,
    },
    /// Nothing, or a header of the script.
    Close,
}

/// So many bytes are sent, and no more.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Head(usize),
    Body(usize),
}

/// What follows the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Close,
    Reset,
    Silence,
}

impl Reply {
    /// 200, `application/json`.
    #[must_use]
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body).header("content-type", "application/json")
    }

    /// A status and a body, and no header.
    #[must_use]
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            framing: Framing::Length,
            before: Vec::new(),
            cut: None,
            then: Then::GoOn,
            slowly: false,
            delay: None,
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets a header, in the place of one of that name; of `link` there may be several.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name || name == "link");
        self.raw_header(name, value.as_bytes())
    }

    /// Adds a header whose value need not be text.
    #[must_use]
    pub fn raw_header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The connection is closed after so many bytes of the body, which said its whole length.
    #[must_use]
    pub fn cut_at(mut self, bytes: usize) -> Self {
        (self.cut, self.then) = (Some(Cut::Body(bytes)), Then::Close);
        self
    }

    /// The connection is closed after so many bytes of the head.
    #[must_use]
    pub fn cut_head_at(mut self, bytes: usize) -> Self {
        (self.cut, self.then) = (Some(Cut::Head(bytes)), Then::Close);
        self
    }

    /// After what is sent the connection is reset, so that the other side may not get all of it.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.then = Then::Reset;
        self
    }

    /// After what is sent nothing comes any more, until the other side goes away.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.then = Then::Silence;
        self
    }

    /// After so many bytes of the body nothing comes any more, until the other side goes away.
    #[must_use]
    pub fn silent_at(self, bytes: usize) -> Self {
        self.cut_at(bytes).silent()
    }

    /// In chunks of 7,000 bytes, without the last, empty one if it is not `finished`.
    #[must_use]
    pub fn chunked(mut self, finished: bool) -> Self {
        self.framing = Framing::Chunks { size: 7_000, finished };
        self
    }

    /// Each byte in a chunk of its own.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.framing = Framing::Chunks { size: 1, finished: true };
        self
    }

    /// The length that is said is another than that of the body.
    #[must_use]
    pub fn claiming(mut self, bytes: usize) -> Self {
        self.framing = Framing::Claims(bytes);
        self
    }

    /// Nothing says the length: the body ends with the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    /// These bytes come before it, as they are.
    #[must_use]
    pub fn preceded_by(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.before = bytes.into();
        self
    }

    /// Byte by byte; meanwhile others go on.
    #[must_use]
    pub fn slowly(mut self) -> Self {
        self.slowly = true;
        self
    }

    /// Nothing is sent before so much time has passed on the clock of `env`.
    #[must_use]
    pub fn after(mut self, env: &Env, delay: Duration) -> Self {
        self.delay = Some((env.clone(), delay));
        self
    }

    /// All that is sent.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let framed = match self.framing {
            Framing::Length if matches!(self.status, 204 | 304) => String::new(),
            Framing::Length => format!("content-length: {}\r\n", self.body.len()),
            Framing::Claims(bytes) => format!("content-length: {bytes}\r\n"),
            Framing::Chunks { .. } => "transfer-encoding: chunked\r\n".to_owned(),
            Framing::Close => String::new(),
        };
        head.extend_from_slice(&[framed.as_bytes(), b"\r\n"].concat());
        let mut body = match self.framing {
            Framing::Chunks { size, finished } => chunks(&self.body, size, finished),
            _ => self.body.clone(),
        };
        match self.cut {
            Some(Cut::Head(bytes)) => {
                head.truncate(bytes);
                body.clear();
            }
            Some(Cut::Body(bytes)) => body.truncate(bytes),
            None => {}
        }
        [self.before.as_slice(), &head, &body].concat()
    }

    /// Whether the connection can be used for another one.
    pub(super) fn goes_on(&self) -> bool {
        let ends = matches!(self.framing, Framing::Length | Framing::Chunks { finished: true, .. });
        self.then == Then::GoOn && ends
    }

    /// Whether who asked can tell it from `other`, in what comes or in how it comes.
    pub(super) fn differs(&self, other: &Self) -> bool {
        let how = |reply: &Self| {
            let ends = matches!(reply.then, Then::Reset | Then::Silence).then_some(reply.then);
            (ends, reply.slowly, reply.delay.as_ref().map(|(_, delay)| *delay))
        };
        how(self) != how(other) || self.bytes() != other.bytes()
    }
}

/// In chunks of `size`.
pub(super) fn chunks(body: &[u8], size: usize, finished: bool) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let end = if finished { b"0\r\n\r\n".as_slice() } else { &[] };
    let chunks = body.chunks(size.max(1)).flat_map(chunk);
    chunks.chain(end.iter().copied()).collect()
}
