use super::ObjectPath;
use crate::error::{Error, Result};
use std::path::PathBuf;

/// Where a store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Memory,
    Bucket(Bucket),
}

/// A bucket or container of a cloud, and a folder in it. It holds no secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) cloud: Cloud,
    /// The address without the folder: `s3://bucket`, `abfss://container@account.dfs.core.windows.net`.
    pub(crate) address: String,
    pub(crate) prefix: ObjectPath,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    Azure,
    Gcs,
    S3,
}

impl Place {
    pub(super) fn parse(uri: &str) -> Result<Self> {
        let Some((scheme, rest)) = uri.split_once("://") else {
            return match uri.split_once(':') {
                _ if uri.is_empty() => Err(refused("the place is empty", None)),
                // RFC 8089 allows one slash, and some tools write it so.
                Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") && path.starts_with('/') => {
                    Self::parse(&format!("file://{path}"))
                }
                // One letter may be a drive; a path with such a beginning can be given as `./x:y`.
                Some((scheme, _)) if is_scheme(scheme) => {
                    Err(refused("an address has `//` after its scheme", Some(scheme)))
                }
                _ => Ok(Self::Folder(uri.into())),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "memory" if rest.is_empty() || rest == "/" => Ok(Self::Memory),
            "memory" => Err(refused("`memory://` takes no path", None)),
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                let path = if path.starts_with('/') { decode(path) } else { None };
                // A query would be read as part of the name, so it is refused as well.
                let path = path.filter(|_| !rest.contains(['?', '#']));
                path.map(Self::Folder).ok_or_else(|| refused("not a `file:///path`", Some(scheme)))
            }
            scheme @ ("s3" | "s3a") => Bucket::parse(Cloud::S3, scheme, rest).map(Self::Bucket),
            scheme @ "gs" => Bucket::parse(Cloud::Gcs, scheme, rest).map(Self::Bucket),
            scheme @ ("az" | "azure" | "abfs" | "abfss") => Bucket::parse(Cloud::Azure, scheme, rest).map(Self::Bucket),
            // Not the whole text: it may hold a key.
            _ => Err(refused("no store for this scheme", Some(scheme))),
        }
    }
}

/// Whether it may be the scheme of a URI (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

impl Bucket {
    fn parse(cloud: Cloud, scheme: &str, rest: &str) -> Result<Self> {
        if rest.contains(['?', '#']) {
            return Err(refused("an address has no query: keys come from the environment", Some(scheme)));
        }
        let (authority, folder) = rest.split_once('/').unwrap_or((rest, ""));
        let named =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let fits = match authority.split_once('@') {
            None => named(authority),
            // `container@account.dfs.core.windows.net`
            Some((container, host)) => {
                cloud == Cloud::Azure && scheme != "azure" && named(container) && named(host) && host.contains('.')
            }
        };
        if !fits {
            return Err(refused("not the address of a bucket; credentials do not belong in it", Some(scheme)));
        }
        // Not its text: it may hold a key.
        let prefix = ObjectPath::parse(folder);
        let prefix = prefix.map_err(|_| refused("a folder has names of A-Z a-z 0-9 _ - . = % , only", Some(scheme)))?;
        Ok(Self { cloud, address: format!("{scheme}://{authority}"), prefix })
    }

    /// That this build has no client for it.
    #[cfg(any(test, not(all(feature = "azure", feature = "gcs", feature = "s3"))))]
    pub(crate) fn not_built_in(&self) -> Error {
        let feature = match self.cloud {
            Cloud::Azure => "azure",
            Cloud::Gcs => "gcs",
            Cloud::S3 => "s3",
        };
        Error::config("open store", "this build has no client for this store")
            .with("store", &self.address)
            .with("feature", feature)
            .with_hint(format!("build with the feature `{feature}` of this crate"))
    }
}

fn refused(message: &'static str, scheme: Option<&str>) -> Error {
    let error = Error::config("open store", message).with_hint(
        "give the path of a folder, `file:///path`, `memory://`, `s3://bucket/folder`, `az://container/folder`, \
         `abfss://container@account.dfs.core.windows.net/folder` or `gs://bucket/folder`; for others build a store of the crate \
         `object_store` and pass it to `Store::from_object_store` (feature `object-store`)",
    );
    match scheme {
        Some(scheme) => error.with("scheme", scheme.escape_debug()),
        None => error,
    }
}

fn decode(path: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).filter(|(hex, _)| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn reads_paths_and_file_uris() {
        let cases = [
            ("data/raw", "data/raw"),
            ("/srv/a b%20c", "/srv/a b%20c"),
            ("file:///srv/a%20b/c%3D1", "/srv/a b/c=1"),
            ("FILE://localhost/srv", "/srv"),
            ("file:/srv/a%20b", "/srv/a b"),
            ("./x:y", "./x:y"),
            ("data/10:30", "data/10:30"),
            ("c:/data", "c:/data"),
        ];
        for (uri, folder) in cases {
            assert_eq!(Place::parse(uri).expect(uri), Place::Folder(folder.into()), "{uri}");
        }
        assert_eq!(Place::parse("memory://").expect("memory"), Place::Memory);
    }

    #[test]
    fn reads_buckets_and_folders_in_them() {
        let cases = [
            ("s3://lake", Cloud::S3, "s3://lake", ""),
            ("S3A://lake.eu/raw/orders/", Cloud::S3, "s3a://lake.eu", "raw/orders"),
            ("gs://lake/raw", Cloud::Gcs, "gs://lake", "raw"),
            ("az://lake/raw", Cloud::Azure, "az://lake", "raw"),
            ("abfss://lake@acc.dfs.core.windows.net/a", Cloud::Azure, "abfss://lake@acc.dfs.core.windows.net", "a"),
        ];
        for (uri, cloud, address, folder) in cases {
            let prefix = ObjectPath::parse(folder).expect("a name");
            let bucket = Bucket { cloud, address: address.to_owned(), prefix };
            assert_eq!(Place::parse(uri).expect(uri), Place::Bucket(bucket), "{uri}");
        }
    }

    #[test]
    fn refuses_other_places_and_says_which_there_are() {
        let bad = [
            "",
            "s3://",
            "s3:///x",
            "s3:/lake",
            "gs:lake",
            "file:relative",
            "s3://key:secret@bucket/x",
            "s3://secret@bucket/x",
            "gs://secret@bucket/x",
            "az://key:secret@acc.blob.core.windows.net/x",
            "az://container/x?sig=secret",
            "s3://bucket/x#secret",
            "file://host/x",
            "file://x",
            "file:///a%2",
            "file:///a%zz",
            "file:///a%+1",
            "file:///a?b",
            "memory://x",
            "http://x",
        ];
        for uri in bad {
            let error = Place::parse(uri).expect_err(uri);
            assert_eq!(error.kind(), ErrorKind::Config, "{uri}");
            let text = error.to_string();
            assert!(
                text.contains("memory://") && text.contains("from_object_store") && !text.contains("secret"),
                "{text}"
            );
        }
        for uri in ["s3://bucket/a/../b", "s3://bucket/a b"] {
            assert_eq!(Place::parse(uri).expect_err(uri).kind(), ErrorKind::Config, "{uri}");
        }
    }

    #[test]
    fn a_build_without_the_client_names_the_feature() {
        for (uri, feature) in [("s3://lake", "`s3`"), ("abfs://lake", "`azure`"), ("gs://lake", "`gcs`")] {
            let Place::Bucket(bucket) = Place::parse(uri).expect(uri) else { panic!("{uri} is a bucket") };
            let error = bucket.not_built_in();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(feature), "{error}");
        }
    }
}
