//! Network boot: which file a client is told, and how it wants to hear of it (RFC 4578, RFC 5071, UEFI §24.7.3).

use nfdhcpd_binding::{Boot, ClientArch};

use crate::wire::dhcpv4::{Message, Request, code};

/// User class of iPXE; it sends the bare word, where RFC 3004 wants a length byte before it.
const IPXE: &[u8] = b"iPXE";
const IPXE_COUNTED: &[u8] = b"\x04iPXE";
/// Vendor classes that a boot server must repeat for its answer to count.
const PXE_CLIENT: &[u8] = b"PXEClient";
const HTTP_CLIENT: &[u8] = b"HTTPClient";

/// The file for each kind of client.
#[derive(Debug)]
pub(super) struct BootFiles {
    default: Option<Box<str>>,
    ipxe: Option<Box<str>>,
    by_arch: Box<[(ClientArch, Box<str>)]>,
}

impl BootFiles {
    /// `None` when the binding names no file.
    pub(super) fn new(boot: &Boot) -> Option<Self> {
        let text = |file: &Option<String>| file.as_deref().map(Box::from);
        let by_arch = boot
            .by_arch
            .iter()
            .map(|(arch, file)| (*arch, file.as_str().into()));
        let files = Self {
            default: text(&boot.file),
            ipxe: text(&boot.file_ipxe),
            by_arch: by_arch.collect(),
        };
        let any = files.default.is_some() || files.ipxe.is_some() || !files.by_arch.is_empty();
        any.then_some(files)
    }

    /// iPXE first: it runs on any architecture, and has taken the place of what would ask for that one's file.
    fn select(&self, request: &Request<'_>) -> Option<&str> {
        let is_ipxe =
            request.etherboot || request.user_class.is(IPXE) || request.user_class.is(IPXE_COUNTED);
        let ipxe = self.ipxe.as_deref().filter(|_| is_ipxe);
        let of_arch = || {
            let arch = request
                .architecture
                .words()
                .find_map(ClientArch::from_type)?;
            let mut files = self.by_arch.iter();
            files.find(|(of, _)| *of == arch).map(|(_, file)| &**file)
        };
        ipxe.or_else(of_arch).or(self.default.as_deref())
    }
}

/// Writes what a client must find whether it asks or not: the `file` field, and the vendor class it waits for. Returns
/// the file's name for option 67.
pub(super) fn write<'a>(
    message: &mut Message<'_, '_>,
    request: &Request<'_>,
    files: Option<&'a BootFiles>,
) -> Option<&'a [u8]> {
    let file = files?.select(request)?.as_bytes();
    let in_field = message.boot_file(file);
    let is_http = request.vendor_class.starts_with(HTTP_CLIENT);
    if is_http {
        message.option(code::VENDOR_CLASS, HTTP_CLIENT);
    } else if request.vendor_class.starts_with(PXE_CLIENT) {
        message.option(code::VENDOR_CLASS, PXE_CLIENT);
    }
    if is_http || !in_field {
        message.option(code::BOOT_FILE_NAME, file);
    }
    Some(file)
}
