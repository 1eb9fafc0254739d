using System.Security.Cryptography;
using Kms.Client.Protocol;

namespace Kms.Client.SealedFiles;

/// <summary>
/// Envelope encryption of streams and files of any length in constant memory: a fresh data key per file, sealed by the daemon
/// and kept in the file; the format is <c>docs/sealed-file.md</c>.
/// </summary>
public static class SealedFile
{
    /// <summary>Seals everything that <paramref name="input"/> still holds. If this throws, what <paramref name="output"/> got is worthless.</summary>
    /// <param name="client">The daemon's client; the caller needs a role that encrypts.</param>
    /// <param name="key">A tag, <c>store/name</c>, or the name of a key in the store <c>default</c>.</param>
    /// <param name="input">What to seal; it isn't closed.</param>
    /// <param name="output">Where the sealed file goes; it isn't flushed or closed.</param>
    /// <param name="progress">Is told the number of bytes read and dealt with so far.</param>
    /// <param name="cancellationToken">Ends it early.</param>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached.</exception>
    /// <exception cref="SealedFileException">The input is longer than 256 TiB.</exception>
    /// <exception cref="IOException">One of the streams failed.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public static Task<SealedFileHeader> EncryptAsync(
        KmsClient client, string key, Stream input, Stream output, IProgress<long>? progress = null,
        CancellationToken cancellationToken = default) =>
        EncryptAsync(
            new DaemonDataKeys(client), key, RandomNumberGenerator.GetBytes(SealedFileHeader.FileIdBytes), input, output, progress,
            cancellationToken);

    /// <summary>
    /// Opens a sealed file. Only bytes that authenticate reach <paramref name="output"/>, in order; but only when this returns
    /// is it known that none are missing at the end. If it throws, don't use what was written.
    /// </summary>
    /// <param name="client">The daemon's client; the caller needs a role that decrypts.</param>
    /// <param name="input">The sealed file, from its start to its end; it isn't closed.</param>
    /// <param name="output">Where the content goes; it isn't flushed or closed.</param>
    /// <param name="progress">Is told the number of bytes of the body dealt with so far.</param>
    /// <param name="cancellationToken">Ends it early.</param>
    /// <exception cref="SealedFileException">It isn't a sealed file, or a damaged one.</exception>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached.</exception>
    /// <exception cref="IOException">One of the streams failed.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public static Task<SealedFileHeader> DecryptAsync(
        KmsClient client, Stream input, Stream output, IProgress<long>? progress = null, CancellationToken cancellationToken = default) =>
        DecryptAsync(new DaemonDataKeys(client), input, output, progress, cancellationToken);

    /// <summary>Reads what stands before the body, without asking the daemon: nothing of it is authenticated.</summary>
    /// <exception cref="SealedFileException">It isn't the start of a sealed file.</exception>
    /// <exception cref="IOException">The stream failed.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public static async Task<SealedFileHeader> ReadHeaderAsync(Stream input, CancellationToken cancellationToken = default)
    {
        byte[] bytes = new byte[SealedFileHeader.LengthInBytes];
        int length = await input.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        return SealedFileHeader.Parse(bytes.AsSpan(0, length));
    }

    /// <summary>
    /// Seals the file's data key again under the newest version of its key, in place; the body isn't touched. The caller needs
    /// roles that decrypt and encrypt.
    /// </summary>
    /// <param name="client">The daemon's client.</param>
    /// <param name="file">The sealed file: readable, writable and seekable; it isn't flushed or closed.</param>
    /// <param name="cancellationToken">Ends it early, but not between the first and the last byte written.</param>
    /// <exception cref="SealedFileException">It isn't a sealed file, or its start is damaged.</exception>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached.</exception>
    /// <exception cref="IOException">The stream failed.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public static Task<SealedFileHeader> ResealAsync(KmsClient client, Stream file, CancellationToken cancellationToken = default) =>
        ResealAsync(new DaemonDataKeys(client), file, cancellationToken);

    internal static async Task<SealedFileHeader> EncryptAsync(
        IDataKeys keys, string key, byte[] fileId, Stream input, Stream output, IProgress<long>? progress,
        CancellationToken cancellationToken)
    {
        using NewDataKey dataKey = await keys.CreateAsync(key, fileId, cancellationToken).ConfigureAwait(false);
        var header = new SealedFileHeader(dataKey.Key, fileId, dataKey.SealedKey);
        using SensitiveBytes bodyKey = BodyChunks.DeriveKey(dataKey.Plaintext, header);
        await output.WriteAsync(
            (byte[])[.. header.ToAuthenticatedBytes(), .. header.ToSlotBytes()], cancellationToken).ConfigureAwait(false);
        await BodyPipeline.SealAsync(bodyKey, input, output, progress, cancellationToken).ConfigureAwait(false);
        return header;
    }

    internal static async Task<SealedFileHeader> DecryptAsync(
        IDataKeys keys, Stream input, Stream output, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        SealedFileHeader header = await ReadHeaderAsync(input, cancellationToken).ConfigureAwait(false);
        using SensitiveBytes dataKey = await OpenDataKeyAsync(keys, header, cancellationToken).ConfigureAwait(false);
        using SensitiveBytes bodyKey = BodyChunks.DeriveKey(dataKey, header);
        await BodyPipeline.OpenAsync(bodyKey, input, output, progress, cancellationToken).ConfigureAwait(false);
        return header;
    }

    internal static async Task<SealedFileHeader> ResealAsync(IDataKeys keys, Stream file, CancellationToken cancellationToken)
    {
        long start = file.Position;
        SealedFileHeader header = await ReadHeaderAsync(file, cancellationToken).ConfigureAwait(false);
        using SensitiveBytes dataKey = await OpenDataKeyAsync(keys, header, cancellationToken).ConfigureAwait(false);
        byte[] fileId = header.FileId.ToArray();
        string sealedKey = await keys.SealAsync(header.Key, dataKey, fileId, cancellationToken).ConfigureAwait(false);
        var resealed = new SealedFileHeader(header.Key, fileId, sealedKey);
        file.Position = start + SealedFileHeader.AuthenticatedBytes;

        // One write inside the file's first sector; half of it would lock the data key away, so it isn't cancelled.
        await file.WriteAsync(resealed.ToSlotBytes(), CancellationToken.None).ConfigureAwait(false);
        return resealed;
    }

    private static async Task<SensitiveBytes> OpenDataKeyAsync(
        IDataKeys keys, SealedFileHeader header, CancellationToken cancellationToken)
    {
        try
        {
            return await keys.OpenAsync(header.Key, header.SealedDataKey, header.FileId.ToArray(), cancellationToken).ConfigureAwait(false);
        }
        catch (KmsException exception) when (exception.Code is KmsErrorCode.InvalidCiphertext)
        {
            throw new SealedFileException(
                SealedFileFault.Damaged, "The data key of this sealed file doesn't open: the file's start was altered.", exception);
        }
    }
}
