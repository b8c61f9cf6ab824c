//! Small requests to the service.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

/// A client that gives up after `patience`, and trusts whom this machine trusts, as the terminal's own connection to
/// the service does: an operator's own authority is installed there.
pub fn agent(patience: Duration) -> Agent {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!(error:%; "an authority that this machine trusts cannot be read");
    }
    let roots: Vec<_> = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots))).build();
    Agent::config_builder().timeout_global(Some(patience)).tls_config(tls).build().into()
}
