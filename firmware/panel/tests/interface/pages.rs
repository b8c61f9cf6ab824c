//! The files of the page.

use axum::http::StatusCode;

use crate::rig::Rig;

fn install(rig: &Rig) {
    let pages = rig.folder.path().join("pages");
    std::fs::create_dir_all(pages.join("assets")).unwrap();
    std::fs::write(pages.join("index.html"), "<!doctype html>the page").unwrap();
    std::fs::write(pages.join("assets/panel-1a2b.js"), "run()").unwrap();
    std::fs::write(rig.folder.path().join("secret.txt"), "secret").unwrap();
}

#[tokio::test]
async fn files_are_served_and_every_place_in_the_page_is_the_page() {
    let rig = Rig::start();
    install(&rig);
    for place in ["/", "/camera", "/settings/sound", "/index.html"] {
        let answer = rig.get(place).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (StatusCode::OK, "<!doctype html>the page"),
            "{place}"
        );
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/html"), "{place}");
        assert_eq!(answer.headers["cache-control"], "no-cache", "{place}");
    }
    let script = rig.get("/assets/panel-1a2b.js").await;
    assert_eq!(script.text(), "run()");
    assert!(script.headers["content-type"].to_str().unwrap().contains("javascript"));
    assert!(script.headers["cache-control"].to_str().unwrap().contains("immutable"));
}

#[tokio::test]
async fn a_missing_file_is_no_page_and_nothing_outside_is_served() {
    let rig = Rig::start();
    install(&rig);
    assert_eq!(rig.get("/assets/old-0000.js").await.status, StatusCode::NOT_FOUND);
    for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "//secret.txt"] {
        assert!(!rig.get(path).await.text().contains("secret"), "{path}");
    }
    assert_eq!(rig.call("POST", "/", None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn absent_pages_say_how_to_get_them_and_the_interface_works() {
    let rig = Rig::start();
    let answer = rig.get("/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("npm ci && npm run build"));
    assert_eq!(rig.get("/api/v1/state").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_address_of_the_interface_is_an_error_and_no_page() {
    let rig = Rig::start();
    install(&rig);
    for path in ["/api", "/api/", "/api/v1/nothing", "/api/v2/state"] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status, answer.error().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
    }
    let answer = rig.call("DELETE", "/api/v1/join", None).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
    );
}
