//! What columns there are: declared in code, in text, or by an Arrow schema.

mod arrow;
mod column_type;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use arrow::UTC;
pub use column_type::{Coerce, ColumnType, TimeUnit, Written};

use crate::error::{Error, Result};
use std::collections::HashMap;

/// One column: its name, its type, and where its value lies in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
    pub(crate) kind: ColumnType,
}

impl Column {
    /// A column whose value lies under its own name.
    pub fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        let name = name.into();
        Self { path: vec![name.clone()], name, kind }
    }

    /// Takes the value from somewhere else in the record: the keys that lead there, such as `["customer", "id"]`.
    #[must_use]
    pub fn at<K: Into<String>>(mut self, path: impl IntoIterator<Item = K>) -> Self {
        self.path = path.into_iter().map(Into::into).collect();
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys that lead to its value in a record.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// Its type.
    pub fn kind(&self) -> &ColumnType {
        &self.kind
    }
}

/// The columns of a batch, in order. All may be null: what a record lacks is null, and
/// [`Validate`](super::Validate) says what is required.
///
/// ```
/// use landfall::columnar::{Column, ColumnType, Columns};
///
/// let orders = Columns::new()
///     .utf8("id")
///     .int64("number")
///     .decimal("total", 18, 2)
///     .timestamp("created_at")
///     .column(Column::new("customer_id", ColumnType::utf8()).at(["customer", "id"]))
///     .list("items", "struct<sku: utf8, qty: int64, price: decimal(18,2)>".parse()?);
/// assert_eq!(orders.to_arrow()?.fields().len(), 6);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    columns: Vec<Column>,
}

impl Columns {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// Adds a column of `kind` under its own name.
    #[must_use]
    pub fn typed(self, name: impl Into<String>, kind: ColumnType) -> Self {
        self.column(Column::new(name, kind))
    }

    /// Adds a column of `true` and `false`.
    #[must_use]
    pub fn bool(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::Bool)
    }

    /// Adds a column of whole numbers from -2^63 to 2^63 - 1.
    #[must_use]
    pub fn int64(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::Int64)
    }

    /// Adds a column of floating point numbers.
    #[must_use]
    pub fn float64(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::Float64)
    }

    /// Adds a column of decimals, from JSON numbers or strings, with `precision` digits, `scale` of them after the point.
    #[must_use]
    pub fn decimal(self, name: impl Into<String>, precision: u8, scale: u8) -> Self {
        self.typed(name, ColumnType::Decimal { precision, scale })
    }

    /// Adds a column of strings; a number or a bool in its place is refused.
    #[must_use]
    pub fn utf8(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::utf8())
    }

    /// Adds a column of strings that takes a number or a bool as its JSON text: for fields of mixed type.
    #[must_use]
    pub fn text(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::Utf8(Coerce::Text))
    }

    /// Adds a column that keeps the exact JSON text of any value.
    #[must_use]
    pub fn json(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::Json)
    }

    /// Adds a column of dates.
    #[must_use]
    pub fn date(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::Date)
    }

    /// Adds a column of instants in microseconds, from RFC 3339 text of any offset.
    #[must_use]
    pub fn timestamp(self, name: impl Into<String>) -> Self {
        self.typed(name, ColumnType::timestamp())
    }

    /// Adds a column of lists.
    #[must_use]
    pub fn list(self, name: impl Into<String>, element: ColumnType) -> Self {
        self.typed(name, ColumnType::List(Box::new(element)))
    }

    /// Adds a column of nested records.
    #[must_use]
    pub fn nested(self, name: impl Into<String>, fields: Self) -> Self {
        self.typed(name, ColumnType::Struct(fields))
    }

    /// Columns from names and types as text, in order; see [`ColumnType`] for the text.
    ///
    /// # Errors
    /// `Config` if a type cannot be read or the columns contradict each other.
    pub fn parse<'a>(columns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut all = Self::new();
        for (name, kind) in columns {
            all = all.typed(name, kind.parse()?);
        }
        all.check()?;
        Ok(all)
    }

    /// The columns, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.columns.iter()
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Checks that the columns can exist beside each other and can be decoded.
    ///
    /// # Errors
    /// `Config`, naming the column: no columns, a name twice (upper and lower case are one name to many readers), two
    /// columns from one place, a decimal beyond 38 digits, nesting beyond 32 levels.
    pub fn check(&self) -> Result<()> {
        self.check_level(0)
    }

    fn check_level(&self, level: usize) -> Result<()> {
        let refuse = |message, name: &str| Err(Error::config("check columns", message).with("column", name));
        if self.columns.is_empty() {
            return Err(Error::config("check columns", "there are no columns"));
        }
        let mut names: HashMap<String, &str> = HashMap::new();
        for (at, column) in self.columns.iter().enumerate() {
            let name = column.name.as_str();
            if name.is_empty() {
                return refuse("a column has no name", name);
            }
            if let Some(other) = names.insert(name.to_lowercase(), name) {
                return Err(Error::config("check columns", "two columns have one name")
                    .with("column", name)
                    .with("other", other)
                    .with_hint("upper and lower case are the same to many readers; rename one with `Column::at`"));
            }
            if column.path.is_empty() {
                return refuse("a column has an empty path", name);
            }
            let earlier = self.columns.iter().take(at);
            if earlier.map(|c| &c.path).any(|p| p.starts_with(&column.path) || column.path.starts_with(p)) {
                return refuse("two columns take their value from one place", name);
            }
            column.kind.check(name, level)?;
        }
        Ok(())
    }
}
