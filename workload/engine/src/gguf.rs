//! Reads metadata and tensors of a GGUF file.

use crate::LoadError;
use crate::matrix::Matrix;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

/// A file that is being loaded.
pub(crate) struct Gguf {
    pub(crate) content: Content,
    reader: BufReader<File>,
    /// Bytes of the file.
    size: u64,
}

impl Gguf {
    pub(crate) fn read(file: File) -> Result<Self, LoadError> {
        let size = file.metadata().map_err(candle_core::Error::from)?.len();
        let mut reader = BufReader::new(file);
        let content = Content::read(&mut reader)?;
        Ok(Self { content, reader, size })
    }

    fn value(&self, key: &str) -> Result<&Value, LoadError> {
        self.content.metadata.get(key).ok_or_else(|| LoadError::Malformed(format!("it has no {key}")))
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str, LoadError> {
        Ok(self.value(key)?.to_string()?)
    }

    pub(crate) fn count(&self, key: &str) -> Result<usize, LoadError> {
        Ok(self.value(key)?.to_u32()? as usize)
    }

    pub(crate) fn number(&self, key: &str) -> Result<f32, LoadError> {
        Ok(self.value(key)?.to_f32()?)
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, LoadError> {
        let values = self.value(key)?.to_vec()?;
        values.iter().map(|value| Ok(value.to_string()?.clone())).collect()
    }

    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// A tensor as it is stored. Its size is checked first: the library makes room for whatever a file says.
    pub(crate) fn quantized(&mut self, name: &str) -> Result<QTensor, LoadError> {
        if let Some(tensor) = self.content.tensor_infos.get(name) {
            let (dims, format) = (tensor.shape.dims(), tensor.ggml_dtype);
            let numbers = dims.iter().try_fold(1_usize, |numbers, dim| numbers.checked_mul(*dim));
            let bytes =
                numbers.and_then(|numbers| (numbers / format.block_size()).checked_mul(format.type_size()));
            if bytes.is_none_or(|bytes| bytes == 0 || bytes as u64 > self.size) {
                return Err(LoadError::Malformed(format!("{name} says that it has {dims:?} numbers")));
            }
        }
        Ok(self.content.tensor(&mut self.reader, name, &Device::Cpu)?)
    }

    /// A small tensor in full precision.
    pub(crate) fn full(&mut self, name: &str) -> Result<Tensor, LoadError> {
        Ok(self.quantized(name)?.dequantize(&Device::Cpu)?)
    }

    /// A matrix to multiply by.
    pub(crate) fn matrix(&mut self, name: &str) -> Result<Matrix, LoadError> {
        Ok(Matrix::new(Arc::new(self.quantized(name)?))?)
    }
}
