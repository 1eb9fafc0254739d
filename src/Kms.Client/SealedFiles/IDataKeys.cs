using Kms.Client.Protocol;

namespace Kms.Client.SealedFiles;

/// <summary>Who makes and opens data keys: the daemon, or a test's double.</summary>
internal interface IDataKeys
{
    Task<NewDataKey> CreateAsync(string key, byte[] context, CancellationToken cancellationToken);

    Task<SensitiveBytes> OpenAsync(KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken);

    Task<string> ReencryptAsync(KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken);
}

/// <summary>A data key in both forms; whoever asked for it disposes of it.</summary>
internal sealed record NewDataKey(KeyTag Key, string SealedKey, SensitiveBytes Plaintext) : IDisposable
{
    [System.Diagnostics.CodeAnalysis.SuppressMessage(
        "IDisposableAnalyzers.Correctness", "IDISP007", Justification = "A message owns its bytes.")]
    public void Dispose() => Plaintext.Dispose();
}

internal sealed class DaemonDataKeys(KmsClient client) : IDataKeys
{
    private const int Bits = 256;

    public async Task<NewDataKey> CreateAsync(string key, byte[] context, CancellationToken cancellationToken)
    {
        // The header names the key by its tag: a name can be taken by another key later.
        if (!KeyTag.TryParse(key, out KeyTag tag))
        {
            KeyDescription found = await client.GetKeyAsync(new KeyRequest { Key = key }, cancellationToken).ConfigureAwait(false);
            tag = KeyTag.Parse(found.Tag);
        }

        CreateDataKeyResult made = await client.CreateDataKeyAsync(
            new CreateDataKeyRequest { Key = tag.Text, Bits = Bits, Context = context, IncludePlaintext = true },
            cancellationToken).ConfigureAwait(false);
        return new NewDataKey(tag, made.Ciphertext, made.Plaintext
            ?? throw new KmsException(KmsErrorCode.Internal, "The daemon made a data key, but didn't send it."));
    }

    public async Task<SensitiveBytes> OpenAsync(
        KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken)
    {
        DecryptResult opened = await client.DecryptAsync(
            new DecryptRequest { Key = key.Text, Ciphertext = sealedKey, Context = context }, cancellationToken).ConfigureAwait(false);
        return opened.Plaintext;
    }

    public async Task<string> ReencryptAsync(
        KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken)
    {
        ReencryptResult made = await client.ReencryptAsync(
            new ReencryptRequest { Key = key.Text, Ciphertext = sealedKey, Context = context }, cancellationToken).ConfigureAwait(false);
        return made.Ciphertext;
    }
}
