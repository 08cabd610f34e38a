//! Vectors of the AWS signing test suite (aws-c-auth, `tests/aws-signing-test-suite/v4`).

use super::*;

struct Vector {
    name: &'static str,
    method: &'static str,
    url: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    signed_body: bool,
    signature: &'static str,
}

const PLAIN: Vector =
    Vector { name: "", method: "GET", url: "/", headers: &[], body: "", signed_body: false, signature: "" };

fn vectors() -> Vec<Vector> {
    const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    const FORM: &str = "application/x-www-form-urlencoded";
    let get = |name, url, signature| Vector { name, url, signature, ..PLAIN };
    vec![
        get("get-vanilla", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        get(
            "get-space-normalized",
            "/example space/",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        get("get-utf8", "/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        get(
            "get-vanilla-query-order-key-case",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        get(
            "get-vanilla-query-unreserved",
            concat!(
                "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=",
                "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
            ),
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        get("get-vanilla-utf8-query", "/?ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        Vector {
            headers: &[("x-amz-security-token", TOKEN)],
            ..get(
                "get-vanilla-with-session-token",
                "/",
                "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            )
        },
        Vector {
            name: "post-x-www-form-urlencoded",
            method: "POST",
            headers: &[("content-type", FORM), ("content-length", "13")],
            body: "Param1=value1",
            signed_body: true,
            signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            ..PLAIN
        },
    ]
}

#[test]
fn signs_as_the_vectors_of_aws_do() {
    let (id, key) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let signer = SigV4::new("us-east-1", "service", Credentials::new(id, key));
    for vector in vectors() {
        let url = reqwest::Url::parse(&format!("https://example.amazonaws.com{}", vector.url)).expect("a URL");
        let payload = hex(digest::digest(&digest::SHA256, vector.body.as_bytes()).as_ref());
        let mut headers =
            vec![("host", "example.amazonaws.com".to_owned()), ("x-amz-date", "20150830T123600Z".to_owned())];
        headers.extend(vector.headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        if vector.signed_body {
            headers.push(("x-amz-content-sha256", payload.clone()));
        }
        let query = canonical_query(url.query().unwrap_or_default());
        // The suite encodes a path once, as S3 does.
        let path = canonical_path(url.path(), true);
        let (request, names) = canonical_request(vector.method, &path, &query, &mut headers, &payload);
        let (id, key) = (id.to_owned().into(), key.to_owned().into());
        let value = signer.authorization("20150830T123600Z", &request, &names, &id, &key);
        let expected = format!("Signature={}", vector.signature);
        assert!(value.expose_secret().ends_with(&expected), "{}: {request}", vector.name);
    }
}

#[test]
fn a_key_of_s3_is_encoded_once_and_a_space_is_never_a_plus() {
    assert_eq!(canonical_path("/a%20b/c+d/%C3%A9", true), "/a%20b/c%2Bd/%C3%A9");
    assert_eq!(canonical_path("/a%20b//c/", false), "/a%2520b/c/");
    assert_eq!(canonical_path("/", false), "/");
    for (path, twice) in [
        ("/test/@connections/JBDvjfGEIAMCERw%3D", "/test/%40connections/JBDvjfGEIAMCERw%253D"),
        ("/functions/arn%3Aaws%3Alambda/invocations", "/functions/arn%253Aaws%253Alambda/invocations"),
    ] {
        assert_eq!(canonical_path(path, false), twice);
    }
    assert_eq!(canonical_query("b=1+2&a=x%2By&c&a="), "a=&a=x%2By&b=1%202&c=");
}
