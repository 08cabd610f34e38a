/// Why a record cannot be taken: becomes a [`Reject`](crate::model::Reject). Made only when something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    path: String,
    said: String,
}

/// Small on the way where nothing is wrong.
pub(crate) type Checked<T> = Result<T, Box<Fault>>;

impl Fault {
    #[cold]
    pub(crate) fn new(code: &'static str, said: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, path: String::new(), said: said.into() })
    }

    /// A value of another type than the declared one.
    #[cold]
    pub(crate) fn expected(what: impl std::fmt::Display, found: u8) -> Box<Self> {
        Self::new("type", format!("expected {what}, found {}", kind_of(found)))
    }

    /// Text that is not JSON.
    #[cold]
    pub(crate) fn json(said: impl Into<String>) -> Box<Self> {
        Self::new("json", said)
    }

    /// Whether it is about a value that is good JSON, and that the column cannot hold.
    pub(crate) fn is_unfit(&self) -> bool {
        matches!(self.code, "type" | "range" | "scale")
    }

    /// Says in which field it happened; called from the inside out.
    #[cold]
    pub(crate) fn within(mut self: Box<Self>, field: &str) -> Box<Self> {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }

    /// Says that it is about the fields that a source gives to all records of a page.
    #[cold]
    pub(crate) fn of_page_fields(mut self: Box<Self>) -> Box<Self> {
        self.said.push_str(" (in the fields of the page)");
        self
    }

    /// Says in which element of a list it happened.
    #[cold]
    pub(crate) fn at_element(self: Box<Self>, index: usize) -> Box<Self> {
        self.within(&format!("[{index}]"))
    }

    /// The whole sentence: field, what was expected, what was found. Names declared fields, repeats no content.
    pub(crate) fn reason(&self) -> String {
        if self.path.is_empty() { self.said.clone() } else { format!("{}: {}", self.path, self.said) }
    }
}

/// What kind of JSON value begins with `first`.
pub(crate) fn kind_of(first: u8) -> &'static str {
    match first {
        b'"' => "a string",
        b'{' => "an object",
        b'[' => "an array",
        b't' | b'f' => "a bool",
        b'n' => "null",
        b'-' | b'0'..=b'9' => "a number",
        _ => "no JSON value",
    }
}
