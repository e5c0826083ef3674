//! Whether something is not there: the object, or the whole API.

/// By the code alone: of an API that is not served the answer is no `Status`, and has no reason.
pub(crate) fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn an_api_that_is_not_served_is_as_absent_as_an_object() {
        let answered = |reason, code| {
            kube::Error::Api(Box::new(Status::failure("404 page not found", reason).with_code(code)))
        };
        assert!(is_absent(&answered("NotFound", 404)));
        assert!(is_absent(&answered("Failed to parse error data", 404)));
        assert!(!is_absent(&answered("Forbidden", 403)));
    }
}
