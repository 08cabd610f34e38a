//! What a person is told who describes an API wrongly, or not yet.

use super::*;
use crate::model::Proof;
use serde_json::json;

async fn read_all(builder: RestBuilder) -> Brought {
    read(&builder.build().expect("a source"), None).await
}

#[tokio::test]
async fn a_first_response_is_looked_into_whatever_it_is() {
    let server = Server::start(|got| match got.path() {
        "/array" => Reply::json(r#"[{"id":1},{"id":2}]"#).header("link", "</array?page=2>; rel=\"next\""),
        "/object" => Reply::json(r#"{"orders":[{"id":1}],"next_cursor":"c"}"#),
        _ => Reply::status(200, "id,name\n").header("content-type", "text/csv"),
    })
    .await;
    let env = Env::deterministic(Arc::new(FastClock::default()), Arc::new(Dice::default()));
    let look = |path: &str| Rest::get(server.url(path)).limits(patient()).detect(&env);
    let array = look("/array").await.expect("found");
    assert!(array.code().contains(".paginate(LinkHeader::new())\n    .records(\"$[*]\")"), "{array}");
    assert!(array.spec().contains("records = \"$[*]\"\n\n[source.paginate]\nby = \"link\"\n"), "{array}");
    let object = look("/object").await.expect("found");
    assert!(object.spec().contains("at = \"$.next_cursor\"\nquery = \"cursor\"\n"), "{object}");
    assert!(look("/csv").await.expect_err("no JSON").hint().is_some_and(|hint| hint.contains(".records(")));
}

/// Many an API says with status 200 what it does not like.
#[tokio::test]
async fn a_short_body_without_the_records_is_shown_without_secrets() {
    let server = Server::start(|got| match got.path() {
        "/graphql" => Reply::json(r#"{"errors":[{"message":"no field `order`"}]}"#),
        "/long" => Reply::json(format!(r#"{{"error":"{}"}}"#, "x".repeat(1_000))),
        _ => Reply::json(r#"{"ok":false,"error":"c4n4ry is not a token"}"#),
    })
    .await;
    let described = |rest: RestBuilder| rest.auth(Bearer::new("c4n4ry")).records("$.data[*]").limits(patient());
    let said = read_all(described(Rest::get(server.url("/r")))).await.error().to_string();
    assert!(said.contains("*** is not a token") && !said.contains("c4n4ry"), "{said}");
    let said = read_all(described(Rest::graphql(server.url("/graphql"), "{ order }"))).await.error().to_string();
    assert!(said.contains("no field `order`"), "{said}");
    let said = read_all(described(Rest::get(server.url("/long")))).await.error().to_string();
    assert!(said.contains("names_there=`error`") && !said.contains("xxx"), "{said}");
}

#[tokio::test]
async fn what_is_there_instead_is_named() {
    let server = Server::start(|_| Reply::json(r#"{"data":[{"id":1}],"meta":{"count":1}}"#)).await;
    let rest = || Rest::get(server.url("/r")).limits(patient());
    let said = read_all(rest().records("$.data[*]").total("$.meta.total")).await.error().to_string();
    assert!(said.contains("$.meta.total") && said.contains("names_there=`count`"), "{said}");
    let said = read_all(rest()).await.error().to_string();
    assert!(said.contains("names_there=`data, meta`") && said.contains(".records("), "{said}");
}

/// As WordPress does behind the last page.
#[tokio::test]
async fn an_api_that_refuses_the_page_behind_the_last_can_be_told_so() {
    let server = Server::start(|got| match got.parameter("page").as_deref() {
        Some("1") => Reply::json(r#"[{"id":1}]"#),
        _ => Reply::status(400, r#"{"code":"rest_post_invalid_page_number"}"#),
    })
    .await;
    let rest = || Rest::get(server.url("/r")).paginate(PageNumber::query("page").until_empty()).limits(patient());
    let brought = read_all(rest()).await;
    assert!(brought.error().hint().is_some_and(|hint| hint.contains("has ended")), "{}", brought.error());
    let ends = On::status(400).and(On::text("invalid_page_number")).ignore();
    let brought = read_all(rest().rule(ends)).await;
    assert!(matches!(brought.stopped(), StopReason::Ignored(_)) && brought.records().len() == 1);
}

/// The first page of a listing looks like all of it.
#[tokio::test]
async fn a_response_that_shows_more_is_not_taken_for_everything() {
    let server = Server::start(|got| match got.path() {
        "/link" => Reply::json("[1]").header("link", "</r?page=2>; rel=\"next\""),
        "/next-page" => Reply::json("[1]").header("x-next-page", "2"),
        "/total" => Reply::json("[1]").header("x-total-count", "2"),
        "/odata" => Reply::json(r#"{"data":[1],"@odata.nextLink":"http://h/r?$skip=1"}"#),
        "/links" => Reply::json(r#"{"data":[1],"links":{"next":"/r?page=2"}}"#),
        "/flag" => Reply::json(r#"{"data":[1],"meta":{"has_more":true}}"#),
        "/token" => Reply::json(r#"{"data":[1],"response_metadata":{"next_cursor":"c"}}"#),
        "/offset" => Reply::json(r#"{"data":[1],"startAt":0,"maxResults":1,"total":2}"#),
        "/page" => Reply::json(r#"{"data":[1],"meta":{"current_page":1,"last_page":2}}"#),
        // These show nothing.
        "/last" => Reply::json("[1]").header("link", "</r?page=1>; rel=\"prev\"").header("x-next-page", ""),
        "/enough" => Reply::json("[1]").header("x-total-count", "1"),
        "/no-more" => Reply::json(r#"{"data":[1],"next":null,"has_more":false,"next_cursor":""}"#),
        "/last-offset" => Reply::json(r#"{"data":[1],"startAt":1,"maxResults":1,"total":2}"#),
        "/sum" => Reply::json(r#"{"data":[1],"total":200}"#),
        "/empty" => Reply::json("[]").header("x-total-count", "2"),
        _ => Reply::json(r#"{"data":[{"next":"/r","has_more":true}],"last_seq":"7","cursor":"x"}"#),
    })
    .await;
    let rest = |path: &str| {
        let is_array = ["/link", "/next-page", "/total", "/last", "/enough", "/empty"].contains(&path);
        Rest::get(server.url(path)).records(if is_array { "$[*]" } else { "$.data[*]" }).limits(patient())
    };
    for path in ["/link", "/next-page", "/total", "/odata", "/links", "/flag", "/token", "/offset", "/page"] {
        let brought = read_all(rest(path)).await;
        assert!(brought.error().kind() == ErrorKind::Incomplete, "{path}: {}", brought.error());
        assert!(brought.error().to_string().contains("shown_by"), "{path}: {}", brought.error());
        let said = read_all(rest(path).paginate(Single)).await;
        assert_eq!(said.stopped(), &StopReason::Exhausted(Proof::WholeResponse), "{path}");
    }
    for path in ["/last", "/enough", "/no-more", "/last-offset", "/sum", "/empty", "/inside"] {
        let brought = read_all(rest(path)).await;
        assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::WholeResponse), "{path}");
    }
}

#[test]
fn an_element_of_an_array_is_no_place_in_a_body() {
    let after = |place: &str| {
        let hits = Rest::post("https://h/r").idempotent().paginate(Keyset::of("$.sort").body(place));
        hits.json(json!({ "sort": ["id"] })).build()
    };
    assert!(after("$.search_after").is_ok());
    let said = after("$.search_after[0]").expect_err("refused").to_string();
    assert!(said.contains("$.search_after[0]") && said.contains("as a whole"), "{said}");
    let form = Rest::post("https://h/r").idempotent().form([("a", "b")]);
    assert!(form.paginate(Keyset::of("id").body("page[after]")).build().is_ok(), "the name of a field of a form");
}

#[tokio::test]
async fn a_key_in_the_place_of_the_user_goes_without_a_password() {
    let server = Server::start(|got| {
        assert_eq!(got.headers["authorization"], "Basic c2tfdGVzdDo=", "`sk_test:`");
        Reply::json("[]")
    })
    .await;
    let rest = Rest::get(server.url("/r")).auth(Basic::key("sk_test")).limits(patient());
    assert!(matches!(read_all(rest).await.stopped(), StopReason::Exhausted(_)));
}
