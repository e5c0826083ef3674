//! Numbers as Kubernetes writes them: `64Mi`, `1.5G`, `1e9`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// How many bytes a quantity is, rounded down; nothing for what is none, or more than can be counted.
pub(super) fn bytes(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.as_str();
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (factor, divisor) = factor(suffix)?;
    let bytes = digits.checked_mul(factor)? / scale.checked_mul(divisor)?;
    u64::try_from(bytes).ok()
}

/// What a suffix multiplies and divides by.
fn factor(suffix: &str) -> Option<(u128, u128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    let place = |suffixes: [&str; 6]| suffixes.iter().position(|known| *known == suffix);
    let power = |base: u128, place: usize| Some((base.checked_pow(u32::try_from(place).ok()? + 1)?, 1));
    if let Some(place) = place(BINARY) {
        return power(1024, place);
    }
    if let Some(place) = place(DECIMAL) {
        return power(1000, place);
    }
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1000)),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            Some((10_u128.checked_pow(exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?)?, 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("64Mi", Some(64 << 20)),
            ("1.5Gi", Some(3 << 29)),
            ("1.5G", Some(1_500_000_000)),
            ("128974848", Some(128_974_848)),
            ("128974848000m", Some(128_974_848)),
            ("129e6", Some(129_000_000)),
            ("129E+6", Some(129_000_000)),
            (".5k", Some(500)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1.2.3", None),
            ("1Zi", None),
            ("99999999999999999999Ei", None),
        ] {
            assert_eq!(bytes(&Quantity(text.into())), expected, "{text}");
        }
    }
}
