//! Reads metadata and tensors of a GGUF file.

use crate::LoadError;
use crate::matrix::Matrix;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

/// Longest description in front of the tensors, bytes: as values in memory it takes up to 24 times as much.
const MAX_HEAD_BYTES: u64 = 16 << 20;
/// Most numbers of a tensor that is kept in full precision.
const MAX_FULL_NUMBERS: usize = 1 << 20;

/// A file that is being loaded.
pub(crate) struct Gguf {
    pub(crate) content: Content,
    reader: BufReader<File>,
    /// Bytes of the file that no tensor has claimed yet.
    left: u64,
}

impl Gguf {
    pub(crate) fn read(file: File) -> Result<Self, LoadError> {
        let left = file.metadata().map_err(candle_core::Error::from)?.len();
        let mut reader = BufReader::new(file);
        let content = Content::read(&mut Head { reader: &mut reader, left: MAX_HEAD_BYTES })?;
        Ok(Self { content, reader, left })
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

    /// Refuses a matrix that does not have so many rows.
    pub(crate) fn expect_rows(&self, name: &str, rows: usize) -> Result<(), LoadError> {
        match self.content.tensor_infos.get(name).and_then(|tensor| tensor.shape.dims().first()) {
            Some(found) if *found != rows => {
                Err(LoadError::Malformed(format!("{name} has {found} rows instead of {rows}")))
            }
            _ => Ok(()),
        }
    }

    /// A tensor as it is stored. Its size is checked first: the library makes room for whatever a file says, and
    /// several tensors may say that they lie at the same place.
    pub(crate) fn quantized(&mut self, name: &str) -> Result<QTensor, LoadError> {
        if let Some(tensor) = self.content.tensor_infos.get(name) {
            let (dims, format) = (tensor.shape.dims(), tensor.ggml_dtype);
            let numbers = dims.iter().try_fold(1_usize, |numbers, dim| numbers.checked_mul(*dim));
            let bytes =
                numbers.and_then(|numbers| (numbers / format.block_size()).checked_mul(format.type_size()));
            let fits = bytes.filter(|bytes| *bytes > 0).and_then(|bytes| self.left.checked_sub(bytes as u64));
            let Some(left) = fits else {
                return Err(LoadError::Malformed(format!("{name} says that it has {dims:?} numbers")));
            };
            self.left = left;
        }
        Ok(self.content.tensor(&mut self.reader, name, &Device::Cpu)?)
    }

    /// A small tensor in full precision.
    pub(crate) fn full(&mut self, name: &str) -> Result<Tensor, LoadError> {
        let stored = self.quantized(name)?;
        if stored.shape().elem_count() > MAX_FULL_NUMBERS {
            let numbers = stored.shape().elem_count();
            return Err(LoadError::Malformed(format!(
                "{name} has {numbers} numbers, more than {MAX_FULL_NUMBERS}"
            )));
        }
        Ok(stored.dequantize(&Device::Cpu)?)
    }

    /// A matrix to multiply by.
    pub(crate) fn matrix(&mut self, name: &str) -> Result<Matrix, LoadError> {
        Ok(Matrix::new(Arc::new(self.quantized(name)?))?)
    }
}

/// The beginning of a file.
struct Head<'a> {
    reader: &'a mut BufReader<File>,
    left: u64,
}

impl Read for Head<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.by_ref().take(self.left).read(buffer)?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Seek for Head<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.reader.seek(position)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use candle_core::quantized::{GgmlDType, gguf_file};
    use std::io::Cursor;

    const TENSOR: &str = "weights";

    /// A file with some metadata and a tensor of 2 × 32 numbers, changed before it is read.
    pub(crate) fn file(metadata: &[(&str, Value)], change: impl FnOnce(&mut Vec<u8>)) -> Gguf {
        try_file(metadata, change).unwrap()
    }

    fn try_file(metadata: &[(&str, Value)], change: impl FnOnce(&mut Vec<u8>)) -> Result<Gguf, LoadError> {
        let numbers = Tensor::zeros((2, 32), candle_core::DType::F32, &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&numbers, GgmlDType::Q8_0).unwrap();
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
        let mut written = Cursor::new(Vec::new());
        gguf_file::write(&mut written, &metadata, &[(TENSOR, &tensor)]).unwrap();
        let mut bytes = written.into_inner();
        change(&mut bytes);
        let place = format!("codecrucible-gguf-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(place);
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Gguf::read(file)
    }

    /// The tensor of a file that says how many rows and columns it has.
    fn tensor(rows: u64, columns: u64) -> Result<QTensor, LoadError> {
        let mut gguf = file(&[], |bytes| {
            let name = bytes.windows(TENSOR.len()).position(|part| part == TENSOR.as_bytes()).unwrap();
            // After the name how many dimensions there are, in four bytes, and then the innermost first.
            let dims = name + TENSOR.len() + 4;
            bytes[dims..][..8].copy_from_slice(&columns.to_le_bytes());
            bytes[dims + 8..][..8].copy_from_slice(&rows.to_le_bytes());
        });
        gguf.quantized(TENSOR)
    }

    #[test]
    fn tensors_together_are_no_larger_than_the_file() {
        let mut gguf = file(&[], |_| {});
        while gguf.left >= 68 {
            gguf.quantized(TENSOR).unwrap();
        }
        assert!(gguf.quantized(TENSOR).unwrap_err().to_string().contains("weights says that it has"));
    }

    #[test]
    fn a_matrix_of_another_height_is_refused() {
        let gguf = file(&[], |_| {});
        assert!(gguf.expect_rows(TENSOR, 2).is_ok());
        let refusal = gguf.expect_rows(TENSOR, 3).unwrap_err().to_string();
        assert!(refusal.contains("weights has 2 rows instead of 3"), "{refusal}");
    }

    #[test]
    fn a_description_longer_than_its_limit_is_refused() {
        let text = Value::String("x".repeat(MAX_HEAD_BYTES as usize));
        assert!(try_file(&[("general.description", text)], |_| {}).is_err());
    }

    #[test]
    fn a_tensor_that_says_that_it_is_larger_than_the_file_is_refused() {
        assert_eq!(tensor(2, 32).unwrap().shape().dims(), [2, 32]);
        for (rows, columns) in [(1 << 20, 1 << 20), (1 << 40, 1 << 40), (u64::MAX, 32), (0, 32)] {
            let refusal = tensor(rows, columns).unwrap_err();
            assert!(
                refusal.to_string().contains("weights says that it has"),
                "{rows} × {columns}: {refusal}"
            );
        }
    }
}
