//! Signatures of lists: JWS in compact form (RFC 7515) by a certificate that the header brings (`x5c`).

use std::time::Duration;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ecdsa::{VerifyingKey, signature::Verifier as _};
use rustls::{
    SignatureScheme,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime},
};
use serde::Deserialize;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};

/// Certificates in a header that are looked at.
const CERTIFICATES_MAX: usize = 8;

/// The header. What else it says does not matter, but for `crit`.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    x5c: Vec<String>,
    /// Extensions that must be understood: none is.
    crit: Option<Vec<String>>,
}

/// The payload of a JWS whose signer's certificate is one of `trusted` or was issued under one of them, and was valid
/// at a moment (milliseconds since 1970).
pub(super) fn verify(jws: &str, trusted: &[CertificateDer<'_>], at_ms: u64) -> Result<Vec<u8>, String> {
    let (signed, signature) = jws.rsplit_once('.').ok_or("it is no JWS")?;
    let (header, payload) = signed.split_once('.').ok_or("it is no JWS")?;
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is no JWS".to_owned());
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|error| format!("its header cannot be read: {error}"))?;
    if header.crit.is_some() {
        return Err("its header has `crit`".to_owned());
    }
    let chain: Result<Vec<_>, _> =
        header.x5c.iter().take(CERTIFICATES_MAX).map(|text| BASE64_STANDARD.decode(text)).collect();
    let chain = chain.map_err(|_| "`x5c` is not base64")?;
    let chain: Vec<CertificateDer<'_>> = chain.into_iter().map(CertificateDer::from).collect();
    let (leaf, intermediates) = chain.split_first().ok_or("its header has no `x5c`")?;
    let certificate = EndEntityCert::try_from(leaf).map_err(|error| format!("its certificate: {error}"))?;
    let known = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    // The very certificate was configured: who issued it says nothing more.
    if !trusted.contains(leaf) {
        let mut algorithms = known.all.to_vec();
        algorithms.push(&BRAINPOOL);
        let anchors: Vec<_> = trusted.iter().filter_map(|trusted| anchor_from_trusted_cert(trusted).ok()).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_millis(at_ms));
        certificate
            .verify_for_usage(&algorithms, &anchors, intermediates, time, AnyUsage, None, None)
            .map_err(|error| format!("its certificate: {error}"))?;
    }
    let algorithm = algorithm(&header.alg, &known)?;
    let signature = decode(signature)?;
    // JWS writes the two numbers of ECDSA side by side, certificates in DER.
    let signature =
        if header.alg.starts_with("ES") || header.alg.starts_with("BP") { der(&signature)? } else { signature };
    certificate
        .verify_signature(algorithm, signed.as_bytes(), &signature)
        .map_err(|error| format!("its signature: {error}"))?;
    decode(payload)
}

fn algorithm(
    name: &str,
    known: &WebPkiSupportedAlgorithms,
) -> Result<&'static dyn SignatureVerificationAlgorithm, String> {
    let scheme = match name {
        "BP256R1" => return Ok(&BRAINPOOL),
        "ES256" => SignatureScheme::ECDSA_NISTP256_SHA256,
        "ES384" => SignatureScheme::ECDSA_NISTP384_SHA384,
        "PS256" => SignatureScheme::RSA_PSS_SHA256,
        "RS256" => SignatureScheme::RSA_PKCS1_SHA256,
        _ => return Err("its `alg` is none of BP256R1, ES256, ES384, PS256 and RS256".to_owned()),
    };
    // The first is the one of this very curve.
    let found = known.mapping.iter().find(|(known, _)| *known == scheme).and_then(|(_, all)| all.first());
    found.copied().ok_or_else(|| "its `alg` is not known".to_owned())
}

/// An ECDSA signature in DER.
fn der(fixed: &[u8]) -> Result<Vec<u8>, String> {
    /// Two numbers of 384 bits are the longest that are known.
    const FIXED_BYTES_MAX: usize = 96;
    if fixed.is_empty() || fixed.len() > FIXED_BYTES_MAX || !fixed.len().is_multiple_of(2) {
        return Err("its signature has a wrong length".to_owned());
    }
    let mut numbers = Vec::with_capacity(fixed.len() + 8);
    for number in [&fixed[..fixed.len() / 2], &fixed[fixed.len() / 2..]] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros.min(number.len() - 1)..];
        // A first bit that is set would make it negative.
        let sign = usize::from(number[0] >= 0x80);
        let length = u8::try_from(number.len() + sign).map_err(|error| error.to_string())?;
        numbers.extend_from_slice(&[0x02, length]);
        numbers.extend(std::iter::repeat_n(0, sign));
        numbers.extend_from_slice(number);
    }
    let length = u8::try_from(numbers.len()).ok().filter(|length| *length < 0x80).ok_or("its signature is too long")?;
    Ok([&[0x30, length], numbers.as_slice()].concat())
}

/// The certificates of signers name uses that TLS knows nothing of.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// ECDSA over brainpoolP256r1 (RFC 5639) with SHA-256.
#[derive(Debug)]
struct Brainpool;

static BRAINPOOL: Brainpool = Brainpool;

impl SignatureVerificationAlgorithm for Brainpool {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::<bp256::BrainpoolP256r1>::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = bp256::r1::ecdsa::Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        // id-ecPublicKey, brainpoolP256r1.
        AlgorithmIdentifier::from_slice(&[
            0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01,
            0x01, 0x07,
        ])
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        // ecdsa-with-SHA256.
        AlgorithmIdentifier::from_slice(&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// Made once with openssl for this test: an authority and a signer whose keys are on brainpoolP256r1.
    const AUTHORITY: &str = include_str!("testdata/authority.pem");
    const SIGNED: &str = include_str!("testdata/list.jws");
    /// Within the validity of both.
    const THEN_MS: u64 = 1_800_000_000_000;

    #[test]
    fn lists_are_signed_on_the_curve_of_the_health_network() {
        let authority = CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap();
        let payload = verify(SIGNED.trim(), std::slice::from_ref(&authority), THEN_MS).unwrap();
        assert!(payload.starts_with(b"{\"version\":"), "{payload:?}");
        assert!(verify(SIGNED.trim(), std::slice::from_ref(&authority), 0).unwrap_err().contains("certificate"));
        let (signed, _) = SIGNED.trim().rsplit_once('.').unwrap();
        let zeros = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 64]));
        assert!(verify(&zeros, std::slice::from_ref(&authority), THEN_MS).is_err());
        let (header, _) = signed.split_once('.').unwrap();
        let (_, signature) = SIGNED.trim().rsplit_once('.').unwrap();
        let other = format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode("{}"));
        assert!(verify(&other, &[authority], THEN_MS).unwrap_err().contains("signature"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", ".", "..", "a.b.c", "e30.e30.e30", "eyJhbGciOiJub25lIiwieDVjIjpbIkFBQUEiXX0.e30."] {
            assert!(verify(text, &[], THEN_MS).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_der_wants_them() {
        assert_eq!(der(&[0, 1, 0x80, 0]).unwrap(), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0]);
        assert!(der(&[]).is_err() && der(&[1]).is_err() && der(&[1; 98]).is_err());
    }
}
