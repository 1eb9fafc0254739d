using System.Runtime.CompilerServices;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>The way that everything sealed under a key takes: may he, cipher, record.</summary>
internal sealed class Sealer(CatalogueLedger catalogue, VersionCipher cipher, UseRecorder recorder)
{
    /// <exception cref="KmsException">Any refusal of a use.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Ciphertext> SealAsync(
        Caller caller, string operation, string keyName, SensitiveBytes plaintext, byte[]? context, CancellationToken cancellationToken)
    {
        KeyLimits.CheckContext(context);
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(keyName), KeyAction.Encrypt);
        KeyVersion version = key.Usable(key.CurrentVersion.Number);
        Ciphertext ciphertext = await cipher.EncryptAsync(key, version, plaintext, context, cancellationToken);
        KeyUse use = new(caller, operation, KeyAction.Encrypt, key.Tag, version.Number) { Context = context };
        await recorder.RecordAsync(use, cancellationToken);
        return ciphertext;
    }
}
