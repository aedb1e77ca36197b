#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardroom_fuzz::pdu(data));
