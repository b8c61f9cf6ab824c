//! Requests that a page of another site made a browser send.
//!
//! DNS rebinding (a foreign name that suddenly points here) shows in `Host`; a forged request (CSRF), and
//! a WebSocket of a foreign page, in `Origin` (RFC 6454) or, for pictures and the like, in
//! `Sec-Fetch-Site` (W3C Fetch Metadata). Programs that are no browsers send neither and are let
//! through: they need no trick.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, Uri, header};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It was sent to a name that is not ours.
    Host,
    /// A page of another site sent it.
    Origin,
}

/// Checks a request. `names` are those of this device beside its addresses and `localhost`, in lower case.
pub(crate) fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    names: &[String],
) -> Result<(), Foreign> {
    let host = host_of(uri, headers).ok_or(Foreign::Host)?;
    if !ours(name_of(&host), names) {
        return Err(Foreign::Host);
    }
    let safe = matches!(*method, Method::GET | Method::HEAD);
    if let Some(origin) = headers.get(header::ORIGIN) {
        // Behind a proxy that ends TLS the scheme differs: only host and port count.
        let origin = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, rest)| rest);
        if !origin.is_some_and(|origin| origin.eq_ignore_ascii_case(&host)) {
            return Err(Foreign::Origin);
        }
    } else if let Some(site) = headers.get("sec-fetch-site") {
        // A link from elsewhere may be followed; nothing else may come from elsewhere.
        let followed = safe && headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        if !(followed || site == "same-origin" || site == "none") {
            return Err(Foreign::Origin);
        }
    }
    Ok(())
}

/// Host and port that the request was sent to (RFC 9110 §7.2; HTTP/2 puts them in the URI).
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let named = hosts.next().and_then(|host| host.to_str().ok());
    match (named, hosts.next()) {
        (_, Some(_)) => None,
        (Some(host), None) => Some(host.to_owned()),
        (None, None) => uri.authority().map(|authority| authority.as_str().to_owned()),
    }
}

/// The host without its port: `[::1]:80` is `[::1]`.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Nobody else can make a name out of an address, so each address is ours.
fn ours(name: &str, names: &[String]) -> bool {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.contains(&name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn checked(method: Method, headers: &[(&'static str, &str)]) -> Result<(), Foreign> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        check(&method, &Uri::from_static("/api/v1/mute"), &map, &["room7.local".to_owned()])
    }

    #[test]
    fn our_own_addresses_and_names_are_ours() {
        for host in
            ["127.0.0.1:8090", "192.0.2.7", "[::1]:8090", "[2001:db8::1]", "localhost:1", "ROOM7.local"]
        {
            assert_eq!(checked(Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_that_only_points_here_is_not_ours() {
        for host in
            ["evil.example:8090", "127.0.0.1.evil.example", "localhost.evil.example", "room8.local", ""]
        {
            assert_eq!(checked(Method::GET, &[("host", host)]), Err(Foreign::Host), "{host}");
        }
        assert_eq!(checked(Method::GET, &[]), Err(Foreign::Host));
        assert_eq!(checked(Method::GET, &[("host", "localhost"), ("host", "localhost")]), Err(Foreign::Host));
    }

    #[test]
    fn a_page_of_another_origin_is_refused_even_on_this_machine() {
        let host = ("host", "localhost:8090");
        for origin in ["http://evil.example", "http://localhost:7880", "http://localhost", "null", ""] {
            for method in [Method::PUT, Method::GET] {
                assert_eq!(checked(method, &[host, ("origin", origin)]), Err(Foreign::Origin), "{origin}");
            }
        }
        for origin in ["http://localhost:8090", "https://LOCALHOST:8090"] {
            assert_eq!(checked(Method::PUT, &[host, ("origin", origin)]), Ok(()), "{origin}");
        }
    }

    #[test]
    fn a_foreign_page_cannot_embed_our_pictures_but_link_to_us() {
        let (host, cross) = (("host", "localhost"), ("sec-fetch-site", "cross-site"));
        assert_eq!(checked(Method::GET, &[host, cross, ("sec-fetch-mode", "no-cors")]), Err(Foreign::Origin));
        assert_eq!(checked(Method::GET, &[host, cross, ("sec-fetch-mode", "navigate")]), Ok(()));
        assert_eq!(
            checked(Method::POST, &[host, cross, ("sec-fetch-mode", "navigate")]),
            Err(Foreign::Origin)
        );
        assert_eq!(checked(Method::POST, &[host, ("sec-fetch-site", "same-site")]), Err(Foreign::Origin));
        assert_eq!(checked(Method::POST, &[host, ("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(checked(Method::POST, &[host]), Ok(()), "a script");
    }

    proptest! {
        #[test]
        fn no_header_panics_and_a_foreign_origin_never_passes(
            host in "[ -~]{0,40}", origin in "[ -~]{0,40}", site in "[ -~]{0,12}"
        ) {
            let headers = [("host", host.as_str()), ("origin", origin.as_str()), ("sec-fetch-site", site.as_str())];
            if checked(Method::POST, &headers).is_ok() {
                let origin = origin.trim().to_ascii_lowercase();
                prop_assert!(origin.ends_with(&host.trim().to_ascii_lowercase()));
            }
        }
    }
}
