//! The source that reads a scripted API.

use super::signed::{REGION, SERVICE};
use super::{Access, Paging, ScriptedApi};
use crate::connectors::http::{
    ApiKey, Basic, Bearer, Credentials, Cursor, Export, Hmac, Jwt, JwtBearer, Keyset, LinkHeader, NextUrl, OAuth2,
    Offset, PageNumber, Parent, Rest, RestBuilder, Session, SigV4, Since, Single, TokenAt, TokenPool, Window,
};
use serde_json::json;

impl ScriptedApi {
    /// The source that reads it: every row, with the credentials that it asks for. Of [`Paging::Windows`], the rows that there are now.
    pub fn rest(&self) -> RestBuilder {
        self.rest_with(|rest| rest)
    }

    /// The same with `settings`, such as limits and retries: where the listing has a parent, for that one too.
    pub fn rest_with(&self, settings: impl Fn(RestBuilder) -> RestBuilder) -> RestBuilder {
        let size = self.page_size() as u64;
        let rest = match self.paging() {
            Paging::CursorInBody => Rest::post(self.url()).json(json!({ "limit": size })).idempotent(),
            Paging::Export => Rest::post(self.url()).json(json!({})).idempotent(),
            Paging::Children => Rest::get(format!("{}?group={{group}}", self.url())),
            _ => Rest::get(self.url()),
        };
        let rest = match self.paging() {
            Paging::Single => rest.paginate(Single),
            Paging::Offset => rest.paginate(Offset::query("offset").limit("limit", size).total("$.total")),
            Paging::Page => rest.paginate(PageNumber::query("page").size("limit", size).total_pages("$.pages")),
            Paging::Cursor | Paging::Windows | Paging::Children => {
                rest.paginate(Cursor::at("$.next_cursor").query("cursor"))
            }
            Paging::CursorInHeader => rest.paginate(Cursor::in_header("x-cursor").header("x-cursor").optional()),
            Paging::CursorInBody => rest.paginate(Cursor::at("$.next_cursor").body("$.cursor")),
            Paging::Keyset => rest.paginate(Keyset::of("changed").query("after")),
            Paging::NextUrl => rest.paginate(NextUrl::at("$.next")),
            Paging::LinkHeader => rest.paginate(LinkHeader::new()),
            Paging::Export => {
                let export = Export::poll("/jobs/{id}").status_at("$.status");
                rest.export(export.download_at("$.urls[*]").rows_at("$.rows"))
            }
        };
        let rest = match self.paging() {
            Paging::Windows => {
                let all = Since::field("changed").query("from").until_query("until");
                let window = Window::numbers(2 * size);
                rest.since(all.initial("0").until((self.changes() + 1).to_string()).window(window))
            }
            Paging::Children => {
                let groups = settings(self.signed(Rest::get(self.groups_url()).records("$[*]")));
                rest.parent(Parent::of(groups).bind("group", "$.group"))
            }
            _ => rest,
        };
        let records = match self.paging() {
            Paging::LinkHeader => "$[*]",
            Paging::Export => "ndjson",
            _ => "$.records[*]",
        };
        settings(self.signed(rest.records(records)))
    }

    fn signed(&self, rest: RestBuilder) -> RestBuilder {
        match self.access().clone() {
            Access::Open => rest,
            Access::Bearer(token) => rest.auth(Bearer::new(token)),
            Access::Basic(user, password) => rest.auth(Basic::new(user, password)),
            Access::Header(name, key) => rest.auth(ApiKey::header(name, key)),
            Access::Query(name, key) => rest.auth(ApiKey::query(name, key)),
            Access::Cookie(name, key) => rest.auth(ApiKey::cookie(name, key)),
            Access::Keys(keys, _) => rest.auth(TokenPool::of(keys.into_iter().map(|key| ApiKey::header("x-key", key)))),
            Access::ClientCredentials { id, secret, .. } => {
                rest.auth(OAuth2::client_credentials(self.token_url(), id, secret))
            }
            Access::RefreshToken { token, .. } => rest.auth(OAuth2::refresh_token(self.token_url(), "landfall", token)),
            Access::JwtBearer { key, .. } => {
                rest.auth(JwtBearer::exchange(self.token_url(), Jwt::hs256(key).issuer("landfall")))
            }
            Access::Jwt(key) => rest.auth(Jwt::hs256(key).issuer("landfall")),
            Access::Session { user, password, .. } => {
                let login = Session::login(self.login_url()).field("user", user).field("password", password);
                rest.auth(login.token(TokenAt::body("$.token")))
            }
            Access::Hmac(key) => {
                let hmac = Hmac::sha256(key).over("{timestamp}{method}{target}{body}");
                rest.auth(hmac.header("x-timestamp", "{timestamp}").header("x-signature", "{signature}"))
            }
            Access::SigV4(id, key) => rest.auth(SigV4::new(REGION, SERVICE, Credentials::new(id, key))),
        }
    }
}
