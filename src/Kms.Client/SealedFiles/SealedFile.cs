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
    /// Has the daemon seal the file's data key again under the newest version of its key, in place: the body isn't touched, and
    /// the data key never leaves the daemon. The caller needs a role that encrypts.
    /// </summary>
    /// <param name="client">The daemon's client.</param>
    /// <param name="file">
    /// The sealed file: readable, writable and seekable; it isn't closed. The new slot goes out in one write within the file's first
    /// sector; a <see cref="FileStream"/> is flushed to the disk as well, so that a crash leaves the old slot or the new one.
    /// </param>
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
        byte[] fileId = header.FileId.ToArray();
        SealedFileHeader resealed = Replace(header, await AskAsync(
            () => keys.ReencryptAsync(header.Key, header.SealedDataKey, fileId, cancellationToken)).ConfigureAwait(false));
        file.Position = start + SealedFileHeader.AuthenticatedBytes;

        // Half of the slot would lock the data key away, so its one write isn't cancelled.
        await file.WriteAsync(resealed.ToSlotBytes(), CancellationToken.None).ConfigureAwait(false);
        if (file is FileStream onDisk)
        {
            await Task.Run(() => onDisk.Flush(flushToDisk: true), CancellationToken.None).ConfigureAwait(false);
        }
        else
        {
            await file.FlushAsync(CancellationToken.None).ConfigureAwait(false);
        }

        return resealed;
    }

    private static Task<SensitiveBytes> OpenDataKeyAsync(
        IDataKeys keys, SealedFileHeader header, CancellationToken cancellationToken) =>
        AskAsync(() => keys.OpenAsync(header.Key, header.SealedDataKey, header.FileId.ToArray(), cancellationToken));

    /// <summary>What is written over the old slot is looked at first: nothing but a sealed key that fits goes there.</summary>
    private static SealedFileHeader Replace(SealedFileHeader header, string sealedKey)
    {
        try
        {
            return new SealedFileHeader(header.Key, header.FileId.Span, sealedKey);
        }
        catch (ArgumentException exception)
        {
            throw new KmsException(KmsErrorCode.Internal, "The daemon's answer doesn't fit a sealed file; nothing was changed.", exception);
        }
    }

    private static async Task<T> AskAsync<T>(Func<Task<T>> ask)
    {
        try
        {
            return await ask().ConfigureAwait(false);
        }
        catch (KmsException exception) when (exception.Code is KmsErrorCode.InvalidCiphertext)
        {
            throw new SealedFileException(
                SealedFileFault.Damaged, "The data key of this sealed file doesn't open: the file's start was altered.", exception);
        }
    }
}
