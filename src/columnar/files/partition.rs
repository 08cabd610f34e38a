//! Hive-style partitions: rows split by the values of some columns, and those values as names of folders.

use super::schema::{StoredColumn, StoredType, column_of};
use crate::error::{Error, Result};
use crate::store::ObjectPath;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array, new_null_array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the folder of a null is called by Hive and all that read its layout.
pub(crate) const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The values of the partition columns, as text, in the order of the columns.
pub(crate) type Key = Vec<Option<String>>;

/// The columns to split by, and how a schema is cut into them and the rest.
#[derive(Clone, Debug)]
pub(crate) struct Partitioning {
    indices: Vec<usize>,
    /// The columns that name folders.
    pub(crate) columns: Vec<StoredColumn>,
    /// The columns of the files.
    pub(crate) rest: Arc<Schema>,
    rest_indices: Vec<usize>,
}

impl Partitioning {
    pub(crate) fn new(schema: &Arc<Schema>, partition_by: &[String]) -> Result<Self> {
        let refuse =
            |message: &'static str, name: &str| Err(Error::config("partition dataset", message).with("column", name));
        let mut indices = Vec::new();
        let mut columns = Vec::new();
        for name in partition_by {
            let Some((index, field)) = schema.column_with_name(name) else {
                return refuse("there is no such column to partition by", name);
            };
            if partition_type(field.data_type()).is_none() {
                return refuse("only text, whole numbers, booleans and dates can name partitions", name)
                    .map_err(|e: Error| e.with("type", column_of(field).kind));
            }
            indices.push(index);
            columns.push(column_of(field));
        }
        let rest_indices: Vec<_> = (0..schema.fields().len()).filter(|i| !indices.contains(i)).collect();
        if rest_indices.is_empty() {
            return Err(Error::config("partition dataset", "no column is left for the files"));
        }
        let rest = if indices.is_empty() { Arc::clone(schema) } else { Arc::new(project(schema, &rest_indices)?) };
        Ok(Self { indices, columns, rest, rest_indices })
    }

    /// Splits rows by the values of the partition columns, in the order in which the values appear.
    pub(crate) fn split(&self, batch: &RecordBatch) -> Result<Vec<(Key, RecordBatch)>> {
        if self.indices.is_empty() {
            return Ok(vec![(Key::new(), batch.clone())]);
        }
        let failed = |e| Error::data("partition dataset", "the rows cannot be split").with_source(e);
        let values = self
            .indices
            .iter()
            .map(|i| {
                let text = cast(batch.column(*i), &DataType::Utf8).map_err(failed)?;
                Ok(text.as_string::<i32>().clone())
            })
            .collect::<Result<Vec<StringArray>>>()?;
        let rest = batch.project(&self.rest_indices).map_err(failed)?;
        let mut groups: Vec<(Vec<Option<&str>>, Vec<u32>)> = Vec::new();
        let mut numbers: HashMap<Vec<Option<&str>>, usize> = HashMap::new();
        for row in 0..batch.num_rows() {
            let key: Vec<_> = values.iter().map(|v| v.is_valid(row).then(|| v.value(row))).collect();
            let number = *numbers.entry(key).or_insert_with_key(|key| {
                groups.push((key.clone(), Vec::new()));
                groups.len() - 1
            });
            let row =
                u32::try_from(row).map_err(|e| Error::data("partition dataset", "too many rows").with_source(e))?;
            if let Some((_, rows)) = groups.get_mut(number) {
                rows.push(row);
            }
        }
        let owned = |key: Vec<Option<&str>>| key.into_iter().map(|v| v.map(str::to_owned)).collect();
        if groups.len() == 1 {
            return Ok(groups.into_iter().map(|(key, _)| (owned(key), rest.clone())).collect());
        }
        groups
            .into_iter()
            .map(|(key, rows)| {
                let part = take_record_batch(&rest, &UInt32Array::from(rows)).map_err(failed)?;
                Ok((owned(key), part))
            })
            .collect()
    }

    /// The folders of a partition: `column=value/…/`, or nothing.
    ///
    /// # Errors
    /// `Data` if a value does not fit into the name of a folder: a cut one would be another value to readers.
    pub(crate) fn folders(&self, key: &Key) -> Result<String> {
        let pairs = self.columns.iter().zip(key);
        pairs
            .map(|(column, value)| {
                let folder = format!("{}={}/", ObjectPath::escape(&column.name), segment(value.as_deref()));
                if folder.len() > 256 {
                    return Err(Error::data("partition dataset", "a value is too long for the name of a folder")
                        .with("column", &column.name)
                        .with("bytes", value.as_ref().map_or(0, String::len))
                        .with_hint(
                            "refuse long values in a stage (`Validate::pattern`), or partition by another column",
                        ));
                }
                Ok(folder)
            })
            .collect()
    }

    /// The values of a partition by the names of its columns.
    pub(crate) fn named(&self, key: &Key) -> BTreeMap<String, Option<String>> {
        self.columns.iter().map(|c| c.name.clone()).zip(key.iter().cloned()).collect()
    }
}

fn project(schema: &Schema, indices: &[usize]) -> Result<Schema> {
    schema
        .project(indices)
        .map_err(|e| Error::bug("partition dataset", "the columns of the schema cannot be taken").with_source(e))
}

/// A value as part of the name of a folder.
pub(crate) fn segment(value: Option<&str>) -> String {
    match value {
        // Hive knows no empty value, and Spark refuses one. The commit tells the two apart.
        None | Some("") => NULL.to_owned(),
        // The text that looks like a null is told apart by an encoding that reads back the same.
        Some(text) if text == NULL => NULL.replacen('_', "%5F", 1),
        Some(text) => ObjectPath::escape(text),
    }
}

/// Names of partition columns must survive as names of folders that readers do not skip.
pub(crate) fn check_names(names: &[String]) -> Result<()> {
    for (i, name) in names.iter().enumerate() {
        let why = if name.is_empty() || name.starts_with(['_', '.']) {
            "a partition column's name must not be empty or start with _ or . (readers skip such folders)"
        } else if ObjectPath::escape(name).len() > 100 {
            "a partition column's name is too long"
        } else if names.iter().take(i).any(|n| n == name) {
            "a partition column is named twice"
        } else {
            continue;
        };
        return Err(Error::config("partition dataset", why).with("column", name.escape_debug()));
    }
    Ok(())
}

/// The type that text of a partition column is read back as.
fn partition_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, values) => partition_type(values),
        plain if plain.is_integer() || *plain == DataType::Boolean || *plain == DataType::Date32 => Some(plain.clone()),
        _ => None,
    }
}

fn named_type(name: &str) -> Option<DataType> {
    let types = [
        DataType::Utf8,
        DataType::Boolean,
        DataType::Date32,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ];
    let kind = StoredType::Plain(name.to_owned());
    types.into_iter().find(|t| column_of(&Field::new("", t.clone(), true)).kind == kind)
}

/// Adds the partition columns to rows of a file, with the types that they had.
pub(crate) fn add_columns(
    rows: &RecordBatch,
    columns: &[StoredColumn],
    values: &BTreeMap<String, Option<String>>,
) -> Result<RecordBatch> {
    let broken = |column: &StoredColumn| {
        Error::corrupt("read dataset", "a partition value does not fit its column").with("column", &column.name)
    };
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    let mut arrays: Vec<ArrayRef> = rows.columns().to_vec();
    for column in columns {
        let StoredType::Plain(name) = &column.kind else { return Err(broken(column)) };
        let data_type = named_type(name).ok_or_else(|| broken(column))?;
        let array = match values.get(&column.name).ok_or_else(|| broken(column))? {
            None => new_null_array(&data_type, rows.num_rows()),
            Some(text) => {
                let text = StringArray::from_iter_values(std::iter::repeat_n(text, rows.num_rows()));
                let array = cast(&text, &data_type).map_err(|e| broken(column).with_source(e))?;
                if array.null_count() > 0 {
                    return Err(broken(column));
                }
                array
            }
        };
        fields.push(Arc::new(Field::new(&column.name, data_type, column.nullable)));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| Error::corrupt("read dataset", "the partition columns do not fit the file").with_source(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Date32Array, Int64Array, UInt64Array};

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("fits")
    }

    #[test]
    fn hostile_values_have_names_of_their_own_that_stay_inside() {
        let hostile = [
            None,
            Some(NULL),
            Some("%5F_HIVE_DEFAULT_PARTITION__"),
            Some(".."),
            Some("../x"),
            Some("a/b"),
            Some("a=b"),
            Some("%"),
            Some("%2e"),
            Some("\0"),
            Some("CON "),
        ];
        let mut seen = std::collections::HashSet::new();
        for value in hostile {
            let name = format!("country={}", segment(value));
            let path = ObjectPath::parse("data").and_then(|p| p.join(&name)).expect("one allowed segment");
            assert_eq!(path.as_str(), format!("data/{name}"));
            assert!(seen.insert(name), "{value:?}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_into_a_name_is_refused_rather_than_cut() {
        let rows =
            batch(vec![("n", Arc::new(Int64Array::from(vec![1]))), ("c", Arc::new(StringArray::from(vec!["x"])))]);
        let by = Partitioning::new(&rows.schema(), &["c".to_owned()]).expect("fits");
        let folders = |value: &str| by.folders(&vec![Some(value.to_owned())]);
        let longest = "x".repeat(253);
        let folder = folders(&longest).expect("255 bytes");
        assert_eq!(ObjectPath::parse(&folder).expect("a name").as_str(), format!("c={longest}"));
        for long in ["x".repeat(254), "ä".repeat(43)] {
            let error = folders(&long).expect_err("too long");
            assert_eq!(error.kind(), crate::error::ErrorKind::Data);
            assert!(error.to_string().contains("column=`c`"), "{error}");
        }
        assert_eq!(folders("").expect("fits"), "c=__HIVE_DEFAULT_PARTITION__/");
    }

    #[test]
    fn splits_in_order_of_appearance_and_gives_the_columns_back_with_their_types() {
        let rows = batch(vec![
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
            ("big", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(u64::MAX), Some(0)]))),
            ("day", Arc::new(Date32Array::from(vec![Some(-1), Some(20_000), Some(-1), Some(20_000)]))),
            ("yes", Arc::new(BooleanArray::from(vec![true, false, true, false]))),
        ]);
        let names: Vec<_> = ["big", "day", "yes"].map(str::to_owned).into();
        let by = Partitioning::new(&rows.schema(), &names).expect("fits");
        let parts = by.split(&rows).expect("splits");
        let folders: Vec<_> =
            parts.iter().map(|(key, part)| (by.folders(key).expect("short"), part.num_rows())).collect();
        assert_eq!(
            folders,
            [
                ("big=18446744073709551615/day=1969-12-31/yes=true/".to_owned(), 2),
                ("big=__HIVE_DEFAULT_PARTITION__/day=2024-10-04/yes=false/".to_owned(), 1),
                ("big=0/day=2024-10-04/yes=false/".to_owned(), 1),
            ]
        );
        let back: Vec<_> =
            parts.iter().map(|(key, part)| add_columns(part, &by.columns, &by.named(key)).expect("fits")).collect();
        let back = arrow::compute::concat_batches(&back[0].schema(), &back).expect("one schema");
        let expected = take_record_batch(&rows, &UInt32Array::from(vec![0, 2, 1, 3])).expect("takes");
        assert_eq!(back, expected);
    }

    #[test]
    fn refuses_columns_that_cannot_name_partitions() {
        let rows = batch(vec![("x", Arc::new(arrow::array::Float64Array::from(vec![1.5])))]);
        for names in [vec!["x"], vec!["missing"]] {
            let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            assert!(Partitioning::new(&rows.schema(), &names).is_err(), "{names:?}");
        }
        let only = batch(vec![("x", Arc::new(Int64Array::from(vec![1])))]);
        assert!(Partitioning::new(&only.schema(), &["x".to_owned()]).is_err());
        for names in [vec![""], vec!["_a"], vec!["a", "a"]] {
            let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            assert!(check_names(&names).is_err(), "{names:?}");
        }
    }
}
