//! Certificates made by the tests themselves. Only the RSA key is a file, since ring makes none.

use mqtt_tokio::rustls::pki_types::pem::PemObject;
use mqtt_tokio::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// An RSA key for tests, as PKCS#8. It is used nowhere else.
pub(crate) const RSA: &str = include_str!("rsa.pem");

pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a DNS name or IP address.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, KeyPair::generate().unwrap(), |_| ())
    }

    pub(crate) fn issue_with(
        &self,
        name: &str,
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(7));
        change(&mut params);
        Identity { chain: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A certificate that was valid, or will be, for a year.
    pub(crate) fn issue_for_year(&self, name: &str, year: i32) -> Identity {
        self.issue_with(name, KeyPair::generate().unwrap(), |params| {
            params.not_before = date_time_ymd(year, 1, 1);
            params.not_after = date_time_ymd(year + 1, 1, 1);
        })
    }

    /// A list that revokes all that this CA has issued.
    pub(crate) fn revocations(&self) -> CertificateRevocationListDer<'static> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(7),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().clone()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

impl Identity {
    pub(crate) fn chain_der(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect()
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// The key that a PKCS#8 file has in it: PKCS#1 of an RSA key, SEC1 of one on a curve.
pub(crate) fn inner_key(pkcs8: &str, label: &str) -> String {
    let whole = pem::parse(pkcs8).unwrap();
    let (_, sequence) = element(whole.contents());
    let (version, _) = element(sequence);
    let (algorithm, _) = element(&sequence[version..]);
    let (_, key) = element(&sequence[version + algorithm..]);
    pem::encode(&pem::Pem::new(label, key))
}

/// The length of the first DER element, and what is in it.
fn element(der: &[u8]) -> (usize, &[u8]) {
    let (header, len) = match der[1] {
        0x82 => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
        0x81 => (3, usize::from(der[2])),
        short => (2, usize::from(short)),
    };
    (header + len, &der[header..header + len])
}
