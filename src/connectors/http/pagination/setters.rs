//! Setters that several kinds of pagination have alike.

/// Setters of what ends a listing, by their names: of a type with the field `ends`.
macro_rules! ends_by {
    ($($how:ident),+) => { $(ends_by!(@ $how);)+ };
    (@ total) => {
        /// Ends with as many records as the value at `place` says; fewer or more are an error.
        pub fn total(mut self, place: impl Into<Place>) -> Self {
            self.ends.total = Some(place.into());
            self
        }
    };
    (@ has_more) => {
        /// Ends when the flag at `place` is false, also if something leads on from the page. Goes on while it is true, also
        /// after an empty page.
        pub fn has_more(mut self, place: impl Into<Place>) -> Self {
            self.ends.has_more = Some(place.into());
            self
        }
    };
    (@ until_empty) => {
        /// Ends with the first page that has no records, also if something leads on from it.
        pub fn until_empty(mut self) -> Self {
            self.ends.on_empty = true;
            self
        }
    };
    (@ stop_when) => {
        /// Ends with the page that meets the condition, also if something leads on from it.
        pub fn stop_when(mut self, stop: impl Into<Stop>) -> Self {
            self.ends.stop = Some(stop.into());
            self
        }
    };
}

/// Constructors of a pagination that counts, by where the count goes: of a type with a function `to`.
macro_rules! counts_in {
    ($what:literal, from $first:literal) => {
        #[doc = concat!("The ", $what, " goes into the parameter `name` of the query, and begins with ", $first, ".")]
        pub fn query(name: impl Into<String>) -> Self {
            Self::to(Target::Query(name.into()))
        }

        #[doc = concat!("The ", $what, " goes to `path` of the body, and begins with ", $first, ".")]
        pub fn body(path: impl Into<String>) -> Self {
            Self::to(Target::Body(path.into()))
        }

        #[doc = concat!("The ", $what, " goes into the header `name`, and begins with ", $first, ".")]
        pub fn header(name: impl Into<String>) -> Self {
            Self::to(Target::Header(name.into()))
        }
    };
}

/// Setters of where a value of the page before goes: of a type with a method `to`.
macro_rules! sends {
    ($what:literal) => {
        #[doc = concat!("Sends ", $what, " in the parameter `name` of the query.")]
        pub fn query(self, name: impl Into<String>) -> Self {
            self.to(Target::Query(name.into()))
        }

        #[doc = concat!("Sends ", $what, " in the header `name`.")]
        pub fn header(self, name: impl Into<String>) -> Self {
            self.to(Target::Header(name.into()))
        }

        #[doc = concat!("Sends ", $what, " at `path` of the body, with the JSON type that it came with.")]
        pub fn body(self, path: impl Into<String>) -> Self {
            self.to(Target::Body(path.into()))
        }
    };
}

pub(super) use {counts_in, ends_by, sends};
